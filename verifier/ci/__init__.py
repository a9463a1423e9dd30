"""What a CI system tells about its run, and what it reads of ours."""
