{{- define "verifier.labels" -}}
app.kubernetes.io/name: helm-verifier
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "verifier.selector" -}}
app.kubernetes.io/name: helm-verifier
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "verifier.image" -}}
{{- $repository := required "image.repository: say which image to run" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "verifier.tlsSecret" -}}
{{- if eq .Values.tls.mode "secret" -}}
{{ required "tls.secretName: the Secret with tls.crt and tls.key" .Values.tls.secretName }}
{{- else -}}
{{ .Values.tls.secretName | default (printf "%s-tls" .Release.Name) }}
{{- end -}}
{{- end }}

{{- define "verifier.policyConfigMap" -}}
{{ .Values.policy.existingConfigMap | default (printf "%s-policy" .Release.Name) }}
{{- end }}

{{/* Whether each server keeps a file of its own, and so needs a volume. */}}
{{- define "verifier.ownFile" -}}
{{- if and .Values.store.enabled (not .Values.store.url) }}true{{ end -}}
{{- end }}

{{- define "verifier.workload" -}}
{{ ternary "StatefulSet" "Deployment" (eq (include "verifier.ownFile" .) "true") }}
{{- end }}

{{- define "verifier.webhook" -}}
admissionReviewVersions: [v1]
sideEffects: NoneOnDryRun
matchPolicy: Equivalent
timeoutSeconds: {{ .Values.admission.timeoutSeconds }}
{{- end }}
