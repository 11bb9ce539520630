{{- /* Names, labels, and what all containers have in common. */ -}}
{{- define "imagegen.appName" -}}
{{- .Values.nameOverride | default "imagegen" -}}
{{- end -}}

{{- define "imagegen.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if .Values.nameOverride -}}
{{- printf "%s-%s" .Release.Name .Values.nameOverride -}}
{{- else -}}
{{- .Release.Name -}}
{{- end -}}
{{- end -}}

{{- /* The first part is cut where a name would be too long: the part must stay whole, or two parts had one name. */ -}}
{{- define "imagegen.name" -}}
{{- $room := sub 62 (len .part) | int -}}
{{- printf "%s-%s" (include "imagegen.fullname" .root | trunc $room | trimSuffix "-") .part -}}
{{- end -}}

{{- define "imagegen.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "imagegen.name" (dict "root" . "part" "pods")) -}}
{{- end -}}

{{- define "imagegen.selector" -}}
app.kubernetes.io/name: {{ include "imagegen.appName" .root }}
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
{{- $usual := dict "runAsNonRoot" true "runAsUser" 10001 "runAsGroup" 10001 "fsGroup" 10001 "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- range $key, $value := mergeOverwrite $usual (deepCopy .root.Values.podSecurityContext) }}
{{- if not (kindIs "invalid" $value) }}
{{ $key }}: {{ toJson $value }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "imagegen.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- /* What the pods of a part have in common: .root, .part, and .settings: its values. */ -}}
{{- define "imagegen.podMeta" -}}
{{- $settings := .settings | default dict -}}
labels:
  {{- toYaml (merge (include "imagegen.labels" . | fromYaml) ($settings.podLabels | default dict) .root.Values.podLabels) | nindent 2 }}
{{- with merge (deepCopy ($settings.podAnnotations | default dict)) .root.Values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "imagegen.podCommon" -}}
{{- $settings := .settings | default dict -}}
serviceAccountName: {{ include "imagegen.serviceAccount" .root }}
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
{{- with $settings.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with $settings.nodeSelector | default .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $settings.affinity | default .root.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat ($settings.tolerations | default list) .root.Values.tolerations }}
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

{{- /* Variables of a container beyond the chart's own: .settings. */ -}}
{{- define "imagegen.extraEnv" -}}
{{- range $variable, $value := .settings.env }}
- {name: {{ $variable }}, value: {{ $value | quote }}}
{{- end }}
{{- with .settings.extraEnv }}
{{ toYaml . }}
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

{{- /* Arguments of tritonserver beyond the chart's own, as a list: .root, .settings. Callers decide what is recorded. */ -}}
{{- define "imagegen.tritonArgs" -}}
{{- $traces := list -}}
{{- with .root.Values.tracing.tritonEndpoint -}}
{{- $traces = list "--trace-config=mode=opentelemetry" (printf "--trace-config=opentelemetry,url=%s" .) "--trace-config=level=TIMESTAMPS" (printf "--trace-config=rate=%d" (divf 1 (maxf 0.001 $.root.Values.tracing.ratio) | int)) -}}
{{- end -}}
{{- concat $traces .settings.args | toJson -}}
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

{{- /* Name of the Secret with the keys of S3; empty where pods have an identity instead. */ -}}
{{- define "imagegen.s3Secret" -}}
{{- if .secret -}}
{{- .secret -}}
{{- else if and .root.Values.externalSecrets.enabled .root.Values.externalSecrets.s3 -}}
{{- include "imagegen.name" (dict "root" .root "part" "s3") -}}
{{- end -}}
{{- end -}}

{{- define "imagegen.s3Env" -}}
{{- range $name := list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef: {name: {{ $.secret }}, key: {{ $name }}}
{{- end }}
{{- end -}}

{{- /* Names of the three Secrets of certificates: named, issued, or none. */ -}}
{{- define "imagegen.tls" -}}
{{- range $part := list "gateway" "orchestrator" "client" }}
{{- $name := index $.Values.tls (printf "%sSecret" $part) | default (ternary (include "imagegen.name" (dict "root" $ "part" (printf "tls-%s" $part))) "" $.Values.tls.certManager.enabled) }}
{{ $part }}Secret: {{ $name | quote }}
{{- end }}
{{- end -}}

{{- /* What brings the models into the volume `models`: a list of containers, or nothing. */ -}}
{{- define "imagegen.modelsInit" -}}
{{- $models := .Values.models -}}
{{- if has $models.source (list "image" "objectStore") }}
{{- if and (eq $models.source "objectStore") $models.nodeCache }}
  - name: models-folder
    image: {{ include "imagegen.image" (dict "root" . "name" "orchestrator") }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command: [python, -c, "import os; os.chown('/target', 10001, 10001)"]
    {{- /* A folder of the node is root's at first. */}}
    securityContext:
      runAsNonRoot: false
      runAsUser: 0
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL], add: [CHOWN]}
    resources:
      requests: {cpu: 10m, memory: 32Mi}
      limits: {memory: 64Mi}
    volumeMounts:
      - {name: models, mountPath: /target}
{{- end }}
  - name: models
    {{- if eq $models.source "image" }}
    image: {{ include "imagegen.image" (dict "root" . "name" $models.image) }}
    args: [/target]
    {{- else }}
    image: {{ include "imagegen.image" (dict "root" . "name" "orchestrator") }}
    command: [python, -m, orchestrator.results.fetch_models, {{ $models.url | quote }}, /target]
    env:
      - {name: HOME, value: /tmp}
      {{- with .Values.results.s3.endpoint }}
      - {name: IMAGEGEN_S3_ENDPOINT, value: {{ . | quote }}}
      {{- end }}
      {{- with .Values.results.s3.region }}
      - {name: IMAGEGEN_S3_REGION, value: {{ . | quote }}}
      {{- end }}
      {{- with include "imagegen.s3Secret" (dict "root" . "secret" $models.existingSecret) }}
      {{- include "imagegen.s3Env" (dict "secret" .) | nindent 6 }}
      {{- end }}
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
  {{- else if eq .Values.models.source "imageVolume" }}
  image: {reference: {{ include "imagegen.pinned" (dict "root" . "image" .Values.models.reference) | quote }}, pullPolicy: {{ .Values.image.pullPolicy }}}
  {{- else if and (eq .Values.models.source "objectStore") .Values.models.nodeCache }}
  {{- /* One folder for each place that models come from: a new version is fetched next to the old one. */}}
  hostPath: {path: {{ printf "%s/%s" .Values.models.nodeCache (.Values.models.url | sha256sum | trunc 12) }}, type: DirectoryOrCreate}
  {{- else }}
  emptyDir: {sizeLimit: {{ .Values.models.size }}}
  {{- end }}
{{- end -}}

{{- /* How the volume `models` is mounted. */ -}}
{{- define "imagegen.modelsMount" -}}
- {name: models, mountPath: /models, readOnly: true{{ if eq .Values.models.source "imageVolume" }}, subPath: {{ .Values.models.referencePath | quote }}{{ end }}}
{{- end -}}

{{- /* An autoscaler by CPU: .root, .part, .name, .settings. */ -}}
{{- define "imagegen.cpuScaler" -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ .name }}
  labels:
    {{- include "imagegen.labels" . | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .name }}}
  minReplicas: {{ .settings.replicas }}
  maxReplicas: {{ .settings.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ .settings.autoscaling.targetCPU }}}
  behavior:
    {{- /* A pod that goes drains first: one at a time, and not for a lull. */}}
    scaleDown:
      stabilizationWindowSeconds: 300
      policies: [{type: Pods, value: 1, periodSeconds: 60}]
{{- end -}}
