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
{{- with omit .root.Values.commonLabels "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart" }}
{{ toYaml . }}
{{- end }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- /* The annotations of an object: .root, and .annotations of its own. */ -}}
{{- define "imagegen.annotations" -}}
{{- with merge (deepCopy (.annotations | default dict)) .root.Values.commonAnnotations -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "imagegen.image" -}}
{{- $tag := .root.Values.image.tag | default .root.Chart.AppVersion -}}
{{- $digest := index .root.Values.image.digests .name | default "" -}}
{{- $name := printf "imagegen/%s%s" .name (ternary (printf "@%s" $digest) (printf ":%s" $tag) (ne $digest "")) -}}
{{- with .root.Values.image.registry | default (.root.Values.global | default dict).imageRegistry -}}{{- $name = printf "%s/%s" . $name -}}{{- end -}}
{{- if has .name (list "gateway" "orchestrator") -}}{{- $name = (index .root.Values .name).image | default $name -}}{{- end -}}
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
{{- $own := mergeOverwrite (deepCopy .root.Values.podSecurityContext) (deepCopy ((.settings | default dict).podSecurityContext | default dict)) -}}
{{- range $key, $value := mergeOverwrite $usual $own }}
{{- if not (kindIs "invalid" $value) }}
{{ $key }}: {{ toJson $value }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* securityContext of a container; .settings: of the part whose own container it is. */ -}}
{{- define "imagegen.containerSecurity" -}}
{{- $usual := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- toYaml (mergeOverwrite $usual (deepCopy ((.settings | default dict).securityContext | default dict))) -}}
{{- end -}}

{{- /* What happens before a container's SIGTERM: .command, unless .settings have a preStop of their own. */ -}}
{{- define "imagegen.lifecycle" -}}
{{- $own := .settings.lifecycle | default dict -}}
{{- toYaml (merge (deepCopy $own) (ternary dict (dict "preStop" (dict "exec" (dict "command" .command))) (hasKey $own "preStop"))) -}}
{{- end -}}

{{- /* A probe: .usual, with the times that .settings give for .name. */ -}}
{{- define "imagegen.probe" -}}
{{- toYaml (mergeOverwrite (deepCopy .usual) (deepCopy (index .settings .name | default dict))) -}}
{{- end -}}

{{- /* How a Deployment replaces its pods: .strategy, unless .settings have one. */ -}}
{{- define "imagegen.rollout" -}}
strategy:
  {{- toYaml (.settings.strategy | default .strategy) | nindent 2 }}
{{- range $key := list "revisionHistoryLimit" "minReadySeconds" }}
{{- $value := index $.settings $key }}
{{- if ne (toString $value) "" }}
{{ $key }}: {{ $value }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* What Services to the outside have in common: .settings. */ -}}
{{- define "imagegen.serviceType" -}}
type: {{ .settings.type }}
{{- range $key := list "loadBalancerClass" "loadBalancerSourceRanges" "externalTrafficPolicy" "ipFamilyPolicy" }}
{{- with index $.settings $key }}
{{ $key }}: {{ toJson . }}
{{- end }}
{{- end }}
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
automountServiceAccountToken: {{ .root.Values.serviceAccount.automount }}
enableServiceLinks: false
securityContext:
  {{- include "imagegen.podSecurity" . | nindent 2 }}
{{- with concat .root.Values.image.pullSecrets .root.Values.imagePullSecrets ((.root.Values.global | default dict).imagePullSecrets | default list) }}
imagePullSecrets:
  {{- range . }}
  - name: {{ ternary . (get (ternary dict . (kindIs "string" .)) "name") (kindIs "string" .) }}
  {{- end }}
{{- end }}
{{- with $settings.priorityClassName | default .priority }}
priorityClassName: {{ . }}
{{- end }}
{{- range $key := list "runtimeClassName" "schedulerName" "hostAliases" "dnsPolicy" "dnsConfig" }}
{{- with index $settings $key }}
{{ $key }}: {{ toJson . }}
{{- end }}
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
{{- $constraints := $settings.topologySpreadConstraints | default list }}
{{- if not $constraints }}
{{- range .root.Values.topologyKeys }}
{{- $constraints = append $constraints (dict "maxSkew" 1 "topologyKey" . "whenUnsatisfiable" "ScheduleAnyway") }}
{{- end }}
{{- end }}
{{- with $constraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml (merge (deepCopy .) (dict "labelSelector" (dict "matchLabels" (include "imagegen.selector" $ | fromYaml)))) | nindent 4 | trim }}
  {{- end }}
{{- end }}
{{- end -}}

{{- /* Variables of a container beyond the chart's own: .settings. */ -}}
{{- define "imagegen.extraEnv" -}}
{{- range $variable, $value := .settings.env }}
- {name: {{ $variable }}, value: {{ ternary $value (toJson $value) (kindIs "string" $value) | quote }}}
{{- end }}
{{- with .settings.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "imagegen.databaseSecret" -}}
{{- .Values.database.existingSecret | default (include "imagegen.name" (dict "root" . "part" "database")) -}}
{{- end -}}

{{- /* Whether the release has a database of its own: true, or nothing. */ -}}
{{- define "imagegen.hasTrialDatabase" -}}
{{- $given := or .Values.database.url .Values.database.existingSecret (and .Values.externalSecrets.enabled .Values.externalSecrets.database) -}}
{{- if and .Values.database.trial.enabled (not $given) -}}true{{- end -}}
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
{{- /* rate=0: calls that come with a trace's context are recorded, and orchestrators send it with those that they record. */ -}}
{{- range list "mode=opentelemetry" (printf "opentelemetry,url=%s" .) "opentelemetry,resource=service.name=imagegen-triton" "level=TIMESTAMPS" "rate=0" "count=-1" -}}
{{- $traces = append $traces (printf "--trace-config=%s" .) -}}
{{- end -}}
{{- end -}}
{{- concat $traces .settings.args .settings.extraArgs | toJson -}}
{{- end -}}

{{- define "imagegen.tritonName" -}}
{{- include "imagegen.name" (dict "root" .root "part" (printf "triton-%s" .group)) -}}
{{- end -}}

{{- /* The orchestrator's environment: of the servers and of the migration. */ -}}
{{- define "imagegen.databaseEnv" -}}
- name: IMAGEGEN_DATABASE_URL
  valueFrom:
    secretKeyRef: {name: {{ include "imagegen.databaseSecret" . }}, key: {{ ternary .Values.database.existingSecretKey "url" (not (empty .Values.database.existingSecret)) }}}
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
      {{- with .Values.results.azureAccount }}
      - {name: IMAGEGEN_AZURE_ACCOUNT, value: {{ . | quote }}}
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
  {{- include "imagegen.annotations" (dict "root" .root) | nindent 2 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .name }}}
  minReplicas: {{ .settings.autoscaling.minReplicas | default .settings.replicas }}
  maxReplicas: {{ .settings.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ .settings.autoscaling.targetCPU }}}
    {{- with .settings.autoscaling.metrics }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  behavior:
    {{- /* A pod that goes drains first: one at a time, and not for a lull. */}}
    {{- $usual := dict "scaleDown" (dict "stabilizationWindowSeconds" 300 "policies" (list (dict "type" "Pods" "value" 1 "periodSeconds" 60))) }}
    {{- toYaml (mergeOverwrite $usual (deepCopy .settings.autoscaling.behavior)) | nindent 4 }}
{{- end -}}
