{{- /* Names, labels, and what all containers have in common. */ -}}
{{- define "imagegen.name" -}}
{{- printf "%s-%s" .root.Release.Name .part | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "imagegen.selector" -}}
app.kubernetes.io/name: imagegen
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "imagegen.labels" -}}
{{ include "imagegen.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "imagegen.image" -}}
{{- $tag := .root.Values.image.tag | default .root.Chart.AppVersion -}}
{{- $digest := index .root.Values.image.digests .name | default "" -}}
{{- $name := printf "imagegen/%s%s" .name (ternary (printf "@%s" $digest) (printf ":%s" $tag) (ne $digest "")) -}}
{{- if .root.Values.image.registry -}}{{- $name = printf "%s/%s" .root.Values.image.registry $name -}}{{- end -}}
{{- include "imagegen.pinned" (dict "root" .root "image" $name) -}}
{{- end -}}

{{- /* An image as it is given; refused without a digest where the values ask for digests. */ -}}
{{- define "imagegen.pinned" -}}
{{- if and .root.Values.image.requireDigests (not (contains "@sha256:" .image)) -}}
{{- fail (printf "image.requireDigests is true, and image %s has no digest" .image) -}}
{{- end -}}
{{- .image -}}
{{- end -}}

{{- define "imagegen.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "imagegen.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- /* What the pods of a part have in common: .root, .part. */ -}}
{{- define "imagegen.podMeta" -}}
labels:
  {{- include "imagegen.labels" . | nindent 2 }}
  {{- with .root.Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (deepCopy (.annotations | default dict)) .root.Values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "imagegen.podCommon" -}}
serviceAccountName: {{ include "imagegen.name" (dict "root" .root "part" "pods") }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- include "imagegen.podSecurity" . | nindent 2 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .priority }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector | default .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat (.tolerations | default list) .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.topologyKeys }}
topologySpreadConstraints:
  {{- range . }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "imagegen.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "imagegen.databaseSecret" -}}
{{- .Values.database.existingSecret | default (include "imagegen.name" (dict "root" . "part" "database")) -}}
{{- end -}}

{{- define "imagegen.postgresHost" -}}
{{- include "imagegen.name" (dict "root" . "part" "postgres") -}}
{{- end -}}

{{- /* Groups of Triton by name, as YAML: each over the defaults. */ -}}
{{- define "imagegen.tritonGroups" -}}
{{- $found := dict -}}
{{- range $name, $group := .Values.triton.groups | default (dict "shared" dict) }}
{{- $_ := set $found $name (mergeOverwrite (deepCopy $.Values.triton.defaults) (deepCopy ($group | default dict))) -}}
{{- end }}
{{- toYaml $found -}}
{{- end -}}

{{- define "imagegen.tritonName" -}}
{{- include "imagegen.name" (dict "root" .root "part" (printf "triton-%s" .group)) -}}
{{- end -}}

{{- /* The orchestrator's environment: of the servers and of the migration. */ -}}
{{- define "imagegen.databaseEnv" -}}
- name: IMAGEGEN_DATABASE_URL
  valueFrom:
    secretKeyRef: {name: {{ include "imagegen.databaseSecret" . }}, key: url}
{{- end -}}

{{- define "imagegen.s3Env" -}}
{{- range $name := list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef: {name: {{ $.secret }}, key: {{ $name }}}
{{- end }}
{{- end -}}

{{- /* Names of the three Secrets of certificates: named, made, or none. */ -}}
{{- define "imagegen.tls" -}}
{{- $made := dict -}}
{{- range $part := list "gateway" "orchestrator" "client" }}
{{- $name := index $.Values.tls (printf "%sSecret" $part) | default (ternary (include "imagegen.name" (dict "root" $ "part" (printf "tls-%s" $part))) "" $.Values.tls.make) }}
{{ $part }}Secret: {{ $name | quote }}
{{- end }}
{{- end -}}

{{- /* What brings the models into the volume `models`. */ -}}
{{- define "imagegen.modelsInit" -}}
{{- $models := .Values.models -}}
{{- if ne $models.source "pvc" }}
initContainers:
  - name: models
    {{- if eq $models.source "image" }}
    image: {{ include "imagegen.image" (dict "root" . "name" $models.image) }}
    args: [/target]
    {{- else }}
    image: {{ include "imagegen.image" (dict "root" . "name" "orchestrator") }}
    command: [python, -m, orchestrator.results.fetch_models, {{ $models.url | quote }}, /target]
    env:
      {{- with .Values.results.s3.endpoint }}
      - {name: IMAGEGEN_S3_ENDPOINT, value: {{ . | quote }}}
      {{- end }}
      {{- with .Values.results.s3.region }}
      - {name: IMAGEGEN_S3_REGION, value: {{ . | quote }}}
      {{- end }}
      {{- include "imagegen.s3Env" (dict "secret" $models.existingSecret) | nindent 6 }}
    {{- end }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    securityContext:
      {{- include "imagegen.containerSecurity" . | nindent 6 }}
    resources:
      requests: {cpu: 100m, memory: 128Mi}
      limits: {memory: 1Gi}
    volumeMounts:
      - {name: models, mountPath: /target}
      - {name: tmp, mountPath: /tmp}
{{- end }}
{{- end -}}

{{- define "imagegen.modelsVolume" -}}
- name: models
  {{- if eq .Values.models.source "pvc" }}
  persistentVolumeClaim: {claimName: {{ .Values.models.existingClaim }}, readOnly: true}
  {{- else }}
  emptyDir: {sizeLimit: {{ .Values.models.size }}}
  {{- end }}
{{- end -}}
