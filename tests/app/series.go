package main

import (
	"bytes"
	"fmt"
	"os"
	"sort"
	"strings"
)

type meta struct {
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
	UID        string `json:"uid"`
	Generation int64  `json:"generation"`
	Owners     []struct {
		Kind       string `json:"kind"`
		Name       string `json:"name"`
		Controller bool   `json:"controller"`
	} `json:"ownerReferences"`
}

type condition struct {
	Type   string `json:"type"`
	Status string `json:"status"`
	Reason string `json:"reason"`
}

type containerState struct {
	Running    *struct{} `json:"running"`
	Waiting    *reasoned `json:"waiting"`
	Terminated *reasoned `json:"terminated"`
}

type reasoned struct {
	Reason   string `json:"reason"`
	ExitCode int    `json:"exitCode"`
}

type container struct {
	Name         string         `json:"name"`
	Ready        bool           `json:"ready"`
	RestartCount int            `json:"restartCount"`
	State        containerState `json:"state"`
	LastState    containerState `json:"lastState"`
}

type pod struct {
	Metadata meta `json:"metadata"`
	Spec     struct {
		NodeName string `json:"nodeName"`
	} `json:"spec"`
	Status struct {
		Phase      string      `json:"phase"`
		PodIP      string      `json:"podIP"`
		Conditions []condition `json:"conditions"`
		Containers []container `json:"containerStatuses"`
	} `json:"status"`
}

// workload has the fields of Deployments, StatefulSets, DaemonSets and ReplicaSets under one name each.
type workload struct {
	Metadata meta `json:"metadata"`
	Spec     struct {
		Replicas *int `json:"replicas"`
		Paused   bool `json:"paused"`
	} `json:"spec"`
	Status struct {
		ObservedGeneration int64       `json:"observedGeneration"`
		Replicas           int         `json:"replicas"`
		Ready              int         `json:"readyReplicas"`
		Available          int         `json:"availableReplicas"`
		Unavailable        int         `json:"unavailableReplicas"`
		Updated            int         `json:"updatedReplicas"`
		Current            int         `json:"currentReplicas"`
		CurrentRevision    string      `json:"currentRevision"`
		UpdateRevision     string      `json:"updateRevision"`
		Conditions         []condition `json:"conditions"`
		DesiredNodes       int         `json:"desiredNumberScheduled"`
		CurrentNodes       int         `json:"currentNumberScheduled"`
		ReadyNodes         int         `json:"numberReady"`
		AvailableNodes     int         `json:"numberAvailable"`
		UpdatedNodes       int         `json:"updatedNumberScheduled"`
		MisscheduledNodes  int         `json:"numberMisscheduled"`
	} `json:"status"`
}

type node struct {
	Metadata meta `json:"metadata"`
	Spec     struct {
		Unschedulable bool `json:"unschedulable"`
	} `json:"spec"`
	Status struct {
		Conditions []condition `json:"conditions"`
	} `json:"status"`
}

type job struct {
	Metadata meta `json:"metadata"`
	Status   struct {
		Active     int         `json:"active"`
		Succeeded  int         `json:"succeeded"`
		Failed     int         `json:"failed"`
		Conditions []condition `json:"conditions"`
	} `json:"status"`
}

type cronJob struct {
	Metadata meta `json:"metadata"`
	Spec     struct {
		Suspend bool `json:"suspend"`
	} `json:"spec"`
	Status struct {
		Active []struct{} `json:"active"`
	} `json:"status"`
}

type claim struct {
	Metadata meta `json:"metadata"`
	Status   struct {
		Phase string `json:"phase"`
	} `json:"status"`
}

type autoscaler struct {
	Metadata meta `json:"metadata"`
	Spec     struct {
		Min *int `json:"minReplicas"`
		Max int  `json:"maxReplicas"`
	} `json:"spec"`
	Status struct {
		Current    int         `json:"currentReplicas"`
		Desired    int         `json:"desiredReplicas"`
		Conditions []condition `json:"conditions"`
	} `json:"status"`
}

// series collects samples, and prints them grouped by name as the text format wants them.
type series map[string][]string

// add takes labels as name, value, name, value, ….
func (s series) add(name string, value int, labels ...string) {
	pairs := []string{}
	for i := 0; i+1 < len(labels); i += 2 {
		pairs = append(pairs, fmt.Sprintf("%s=%q", labels[i], labels[i+1]))
	}
	s[name] = append(s[name], fmt.Sprintf("%s{%s} %d\n", name, strings.Join(pairs, ","), value))
}

func (s series) text() []byte {
	names := []string{}
	for name := range s {
		names = append(names, name)
	}
	sort.Strings(names)
	var text bytes.Buffer
	for _, name := range names {
		kind := "gauge"
		if strings.HasSuffix(name, "_total") {
			kind = "counter"
		}
		fmt.Fprintf(&text, "# TYPE %s %s\n", name, kind)
		for _, line := range s[name] {
			text.WriteString(line)
		}
	}
	return text.Bytes()
}

// each lists one kind and adds its objects' series; a list that fails leaves its series out.
func each[T any](s series, a *api, path string, add func(series, T)) {
	items, err := list[T](a, path)
	if err != nil {
		fmt.Fprintln(os.Stderr, "ERROR: list:", err)
		return
	}
	for _, item := range items {
		add(s, item)
	}
}

func look(a *api, seen *waits) []byte {
	s := series{}
	each(s, a, "/api/v1/pods", func(s series, p pod) { podSeries(s, p, seen) })
	each(s, a, "/api/v1/nodes", nodeSeries)
	each(s, a, "/api/v1/persistentvolumeclaims", claimSeries)
	each(s, a, "/apis/apps/v1/deployments", deploymentSeries)
	each(s, a, "/apis/apps/v1/replicasets", replicaSetSeries)
	each(s, a, "/apis/apps/v1/statefulsets", statefulSetSeries)
	each(s, a, "/apis/apps/v1/daemonsets", daemonSetSeries)
	each(s, a, "/apis/batch/v1/jobs", jobSeries)
	each(s, a, "/apis/batch/v1/cronjobs", cronJobSeries)
	each(s, a, "/apis/autoscaling/v2/horizontalpodautoscalers", autoscalerSeries)
	return s.text()
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// conditions adds one series for each value a condition may have, 1 for the one it has.
func conditions(s series, name string, all []condition, labels ...string) {
	for _, c := range all {
		for _, status := range []string{"true", "false", "unknown"} {
			s.add(name, truth(strings.ToLower(c.Status) == status), append(labels[:len(labels):len(labels)], "condition", c.Type, "status", status)...)
		}
	}
}

func podSeries(s series, p pod, seen *waits) {
	of := []string{"namespace", p.Metadata.Namespace, "pod", p.Metadata.Name, "uid", p.Metadata.UID}
	with := func(more ...string) []string { return append(of[:len(of):len(of)], more...) }
	owner := []string{"created_by_kind", "", "created_by_name", ""}
	for _, o := range p.Metadata.Owners {
		if o.Controller {
			owner = []string{"created_by_kind", o.Kind, "created_by_name", o.Name}
			s.add("kube_pod_owner", 1, with("owner_kind", o.Kind, "owner_name", o.Name, "owner_is_controller", "true")...)
		}
	}
	s.add("kube_pod_info", 1, with(append(owner, "node", p.Spec.NodeName, "pod_ip", p.Status.PodIP)...)...)
	for _, phase := range []string{"Pending", "Running", "Succeeded", "Failed", "Unknown"} {
		s.add("kube_pod_status_phase", truth(p.Status.Phase == phase), with("phase", phase)...)
	}
	for _, c := range p.Status.Conditions {
		name := map[string]string{"Ready": "kube_pod_status_ready", "PodScheduled": "kube_pod_status_scheduled"}[c.Type]
		if name == "" {
			continue
		}
		for _, status := range []string{"true", "false", "unknown"} {
			s.add(name, truth(strings.ToLower(c.Status) == status), with("condition", status)...)
		}
	}
	for _, c := range p.Status.Containers {
		named := func(more ...string) []string { return with(append([]string{"container", c.Name}, more...)...) }
		s.add("kube_pod_container_status_restarts_total", c.RestartCount, named()...)
		s.add("kube_pod_container_status_ready", truth(c.Ready), named()...)
		s.add("kube_pod_container_status_running", truth(c.State.Running != nil), named()...)
		s.add("kube_pod_container_status_waiting", truth(c.State.Waiting != nil), named()...)
		s.add("kube_pod_container_status_terminated", truth(c.State.Terminated != nil), named()...)
		if reason := seen.note(p.Metadata.UID, c); reason != "" {
			s.add("kube_pod_container_status_waiting_reason", 1, named("reason", reason)...)
		}
		if c.State.Terminated != nil {
			s.add("kube_pod_container_status_terminated_reason", 1, named("reason", c.State.Terminated.Reason)...)
		}
		if last := c.LastState.Terminated; last != nil {
			s.add("kube_pod_container_status_last_terminated_reason", 1, named("reason", last.Reason)...)
			s.add("kube_pod_container_status_last_terminated_exitcode", last.ExitCode, named()...)
		}
	}
}

func nodeSeries(s series, n node) {
	s.add("kube_node_info", 1, "node", n.Metadata.Name)
	s.add("kube_node_spec_unschedulable", truth(n.Spec.Unschedulable), "node", n.Metadata.Name)
	conditions(s, "kube_node_status_condition", n.Status.Conditions, "node", n.Metadata.Name)
}

func claimSeries(s series, c claim) {
	for _, phase := range []string{"Bound", "Lost", "Pending"} {
		s.add("kube_persistentvolumeclaim_status_phase", truth(c.Status.Phase == phase),
			"namespace", c.Metadata.Namespace, "persistentvolumeclaim", c.Metadata.Name, "phase", phase)
	}
}

// replicas is what Kubernetes takes an absent count for.
func replicas(count *int) int {
	if count == nil {
		return 1
	}
	return *count
}

func deploymentSeries(s series, d workload) {
	of := []string{"namespace", d.Metadata.Namespace, "deployment", d.Metadata.Name}
	s.add("kube_deployment_spec_replicas", replicas(d.Spec.Replicas), of...)
	s.add("kube_deployment_spec_paused", truth(d.Spec.Paused), of...)
	s.add("kube_deployment_metadata_generation", int(d.Metadata.Generation), of...)
	s.add("kube_deployment_status_observed_generation", int(d.Status.ObservedGeneration), of...)
	s.add("kube_deployment_status_replicas", d.Status.Replicas, of...)
	s.add("kube_deployment_status_replicas_ready", d.Status.Ready, of...)
	s.add("kube_deployment_status_replicas_available", d.Status.Available, of...)
	s.add("kube_deployment_status_replicas_unavailable", d.Status.Unavailable, of...)
	s.add("kube_deployment_status_replicas_updated", d.Status.Updated, of...)
	for _, c := range d.Status.Conditions {
		for _, status := range []string{"true", "false", "unknown"} {
			s.add("kube_deployment_status_condition", truth(strings.ToLower(c.Status) == status),
				append(of[:len(of):len(of)], "condition", c.Type, "reason", c.Reason, "status", status)...)
		}
	}
}

func replicaSetSeries(s series, r workload) {
	of := []string{"namespace", r.Metadata.Namespace, "replicaset", r.Metadata.Name}
	s.add("kube_replicaset_spec_replicas", replicas(r.Spec.Replicas), of...)
	s.add("kube_replicaset_status_replicas", r.Status.Replicas, of...)
	s.add("kube_replicaset_status_ready_replicas", r.Status.Ready, of...)
	for _, o := range r.Metadata.Owners {
		if o.Controller {
			s.add("kube_replicaset_owner", 1, append(of, "owner_kind", o.Kind, "owner_name", o.Name, "owner_is_controller", "true")...)
		}
	}
}

func statefulSetSeries(s series, t workload) {
	of := []string{"namespace", t.Metadata.Namespace, "statefulset", t.Metadata.Name}
	s.add("kube_statefulset_replicas", replicas(t.Spec.Replicas), of...)
	s.add("kube_statefulset_metadata_generation", int(t.Metadata.Generation), of...)
	s.add("kube_statefulset_status_observed_generation", int(t.Status.ObservedGeneration), of...)
	s.add("kube_statefulset_status_replicas", t.Status.Replicas, of...)
	s.add("kube_statefulset_status_replicas_ready", t.Status.Ready, of...)
	s.add("kube_statefulset_status_replicas_available", t.Status.Available, of...)
	s.add("kube_statefulset_status_replicas_current", t.Status.Current, of...)
	s.add("kube_statefulset_status_replicas_updated", t.Status.Updated, of...)
	s.add("kube_statefulset_status_current_revision", 1, append(of[:len(of):len(of)], "revision", t.Status.CurrentRevision)...)
	s.add("kube_statefulset_status_update_revision", 1, append(of[:len(of):len(of)], "revision", t.Status.UpdateRevision)...)
}

func daemonSetSeries(s series, d workload) {
	of := []string{"namespace", d.Metadata.Namespace, "daemonset", d.Metadata.Name}
	s.add("kube_daemonset_metadata_generation", int(d.Metadata.Generation), of...)
	s.add("kube_daemonset_status_observed_generation", int(d.Status.ObservedGeneration), of...)
	s.add("kube_daemonset_status_desired_number_scheduled", d.Status.DesiredNodes, of...)
	s.add("kube_daemonset_status_current_number_scheduled", d.Status.CurrentNodes, of...)
	s.add("kube_daemonset_status_number_ready", d.Status.ReadyNodes, of...)
	s.add("kube_daemonset_status_number_available", d.Status.AvailableNodes, of...)
	s.add("kube_daemonset_status_number_misscheduled", d.Status.MisscheduledNodes, of...)
	s.add("kube_daemonset_status_updated_number_scheduled", d.Status.UpdatedNodes, of...)
}

func jobSeries(s series, j job) {
	of := []string{"namespace", j.Metadata.Namespace, "job_name", j.Metadata.Name}
	s.add("kube_job_status_active", j.Status.Active, of...)
	s.add("kube_job_status_succeeded", j.Status.Succeeded, of...)
	s.add("kube_job_status_failed", j.Status.Failed, of...)
	for _, c := range j.Status.Conditions {
		name := map[string]string{"Failed": "kube_job_failed", "Complete": "kube_job_complete"}[c.Type]
		if name != "" {
			s.add(name, truth(c.Status == "True"), append(of[:len(of):len(of)], "condition", "true")...)
		}
	}
	for _, o := range j.Metadata.Owners {
		if o.Controller {
			s.add("kube_job_owner", 1, append(of[:len(of):len(of)], "owner_kind", o.Kind, "owner_name", o.Name, "owner_is_controller", "true")...)
		}
	}
}

func cronJobSeries(s series, c cronJob) {
	of := []string{"namespace", c.Metadata.Namespace, "cronjob", c.Metadata.Name}
	s.add("kube_cronjob_spec_suspend", truth(c.Spec.Suspend), of...)
	s.add("kube_cronjob_status_active", len(c.Status.Active), of...)
}

func autoscalerSeries(s series, h autoscaler) {
	of := []string{"namespace", h.Metadata.Namespace, "horizontalpodautoscaler", h.Metadata.Name}
	s.add("kube_horizontalpodautoscaler_spec_min_replicas", replicas(h.Spec.Min), of...)
	s.add("kube_horizontalpodautoscaler_spec_max_replicas", h.Spec.Max, of...)
	s.add("kube_horizontalpodautoscaler_status_current_replicas", h.Status.Current, of...)
	s.add("kube_horizontalpodautoscaler_status_desired_replicas", h.Status.Desired, of...)
	conditions(s, "kube_horizontalpodautoscaler_status_condition", h.Status.Conditions, of...)
}
