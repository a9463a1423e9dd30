"""What installs the service: a Helm chart and a Containerfile. The registrations in the chart are generated from the table of kinds."""
