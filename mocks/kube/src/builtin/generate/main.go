// Prints the table of Kubernetes API types that the embedded API server reads: for every struct reachable from
// the kinds below, one line per field with its JSON name, protobuf number, type and merge rules.
//
// In this folder, with GOFLAGS=-mod=mod and DIR the folder of `go mod download -json k8s.io/kubernetes@v1.37.2`:
//
//	go run . DIR/api/openapi-spec/v3 v1.37.2 > ../types.txt
//
// Sources: the struct tags of the Go modules k8s.io/api, k8s.io/apimachinery and k8s.io/apiextensions-apiserver, and the
// list and map types of the OpenAPI documents in the module k8s.io/kubernetes (argument: its api/openapi-spec/v3).
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"

	apps "k8s.io/api/apps/v1"
	authn "k8s.io/api/authentication/v1"
	authz "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	events "k8s.io/api/events/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	scheduling "k8s.io/api/scheduling/v1"
	storage "k8s.io/api/storage/v1"
	ext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

type kind struct {
	group, version, name string
	value                any
}

var kinds = []kind{
	{"", "v1", "Namespace", core.Namespace{}}, {"", "v1", "Pod", core.Pod{}}, {"", "v1", "Service", core.Service{}},
	{"", "v1", "Secret", core.Secret{}}, {"", "v1", "ConfigMap", core.ConfigMap{}}, {"", "v1", "ServiceAccount", core.ServiceAccount{}},
	{"", "v1", "Event", core.Event{}}, {"", "v1", "Node", core.Node{}}, {"", "v1", "Endpoints", core.Endpoints{}},
	{"", "v1", "PersistentVolumeClaim", core.PersistentVolumeClaim{}}, {"", "v1", "ResourceQuota", core.ResourceQuota{}},
	{"", "v1", "LimitRange", core.LimitRange{}}, {"", "v1", "Binding", core.Binding{}}, {"", "v1", "ReplicationController", core.ReplicationController{}},
	{"", "v1", "PodTemplate", core.PodTemplate{}}, {"", "v1", "PersistentVolume", core.PersistentVolume{}},
	{"apps", "v1", "Deployment", apps.Deployment{}}, {"apps", "v1", "ReplicaSet", apps.ReplicaSet{}},
	{"apps", "v1", "StatefulSet", apps.StatefulSet{}}, {"apps", "v1", "DaemonSet", apps.DaemonSet{}},
	{"apps", "v1", "ControllerRevision", apps.ControllerRevision{}},
	{"batch", "v1", "Job", batch.Job{}}, {"batch", "v1", "CronJob", batch.CronJob{}},
	{"discovery.k8s.io", "v1", "EndpointSlice", discovery.EndpointSlice{}}, {"coordination.k8s.io", "v1", "Lease", coordination.Lease{}},
	{"events.k8s.io", "v1", "Event", events.Event{}}, {"autoscaling", "v2", "HorizontalPodAutoscaler", autoscaling.HorizontalPodAutoscaler{}},
	{"autoscaling", "v1", "HorizontalPodAutoscaler", autoscalingv1.HorizontalPodAutoscaler{}},
	{"autoscaling", "v1", "Scale", autoscalingv1.Scale{}}, {"policy", "v1", "PodDisruptionBudget", policy.PodDisruptionBudget{}},
	{"policy", "v1", "Eviction", policy.Eviction{}}, {"rbac.authorization.k8s.io", "v1", "Role", rbac.Role{}},
	{"rbac.authorization.k8s.io", "v1", "RoleBinding", rbac.RoleBinding{}}, {"rbac.authorization.k8s.io", "v1", "ClusterRole", rbac.ClusterRole{}},
	{"rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", rbac.ClusterRoleBinding{}},
	{"apiextensions.k8s.io", "v1", "CustomResourceDefinition", ext.CustomResourceDefinition{}},
	{"networking.k8s.io", "v1", "Ingress", networking.Ingress{}}, {"networking.k8s.io", "v1", "IngressClass", networking.IngressClass{}},
	{"networking.k8s.io", "v1", "NetworkPolicy", networking.NetworkPolicy{}},
	{"scheduling.k8s.io", "v1", "PriorityClass", scheduling.PriorityClass{}}, {"storage.k8s.io", "v1", "StorageClass", storage.StorageClass{}},
	{"authentication.k8s.io", "v1", "TokenReview", authn.TokenReview{}}, {"authentication.k8s.io", "v1", "TokenRequest", authn.TokenRequest{}},
	{"authentication.k8s.io", "v1", "SelfSubjectReview", authn.SelfSubjectReview{}},
	{"authorization.k8s.io", "v1", "SubjectAccessReview", authz.SubjectAccessReview{}},
	{"authorization.k8s.io", "v1", "SelfSubjectAccessReview", authz.SelfSubjectAccessReview{}},
	{"authorization.k8s.io", "v1", "LocalSubjectAccessReview", authz.LocalSubjectAccessReview{}},
	{"authorization.k8s.io", "v1", "SelfSubjectRulesReview", authz.SelfSubjectRulesReview{}},
	{"meta.k8s.io", "v1", "DeleteOptions", meta.DeleteOptions{}}, {"meta.k8s.io", "v1", "Status", meta.Status{}},
}

var special = map[reflect.Type]string{
	reflect.TypeOf(meta.Time{}): "Time", reflect.TypeOf(meta.MicroTime{}): "MicroTime", reflect.TypeOf(meta.Duration{}): "Duration",
	reflect.TypeOf(resource.Quantity{}): "Quantity", reflect.TypeOf(intstr.IntOrString{}): "IntOrString",
	reflect.TypeOf(runtime.RawExtension{}): "Raw", reflect.TypeOf(meta.FieldsV1{}): "FieldsV1",
	reflect.TypeOf(ext.JSON{}): "JSON", reflect.TypeOf(ext.JSONSchemaPropsOrArray{}): "SchemaOrArray",
	reflect.TypeOf(ext.JSONSchemaPropsOrBool{}): "SchemaOrBool", reflect.TypeOf(ext.JSONSchemaPropsOrStringArray{}): "SchemaOrStrings",
}

var seen = map[reflect.Type]bool{}
var queue []reflect.Type
var specs = map[string]map[string]any{}

func openapiName(t reflect.Type) string {
	p := t.PkgPath()
	parts := strings.Split(p, "/")
	host := strings.Split(parts[0], ".")
	for i, j := 0, len(host)-1; i < j; i, j = i+1, j-1 {
		host[i], host[j] = host[j], host[i]
	}
	return strings.Join(host, ".") + "." + strings.Join(parts[1:], ".") + "." + t.Name()
}

func expr(t reflect.Type) string {
	if s, ok := special[t]; ok {
		return s
	}
	switch t.Kind() {
	case reflect.Pointer:
		return "*" + expr(t.Elem())
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		// A named slice (ExtraValue) is a message with one repeated field on the wire.
		if t.Name() != "" {
			return "[" + t.String() + "]" + expr(t.Elem())
		}
		return "[]" + expr(t.Elem())
	case reflect.Map:
		if t.Name() != "" {
			return "{" + t.String() + "}" + expr(t.Elem())
		}
		return "{}" + expr(t.Elem())
	case reflect.Struct:
		if !seen[t] {
			seen[t] = true
			queue = append(queue, t)
		}
		return openapiName(t)
	case reflect.Uint32, reflect.Uint64, reflect.Int32, reflect.Int64, reflect.Bool, reflect.String, reflect.Float64:
		if t.Kind().String() != t.String() {
			return t.Kind().String() + "/" + t.String()
		}
		return t.Kind().String()
	case reflect.Int:
		return "int64"
	}
	panic(t.String())
}

func main() {
	files, _ := filepath.Glob(os.Args[1] + "/*.json")
	for _, f := range files {
		b, _ := os.ReadFile(f)
		var doc struct {
			Components struct{ Schemas map[string]map[string]any }
		}
		if err := json.Unmarshal(b, &doc); err != nil {
			panic(err)
		}
		for k, v := range doc.Components.Schemas {
			specs[k] = v
		}
	}
	fmt.Println("# Generated by `go run . OPENAPI_DIR` from the public types of Kubernetes " + os.Args[2] + "; types.rs explains the format.")
	for _, k := range kinds {
		fmt.Printf("kind %s %s %s %s\n", or(k.group), k.version, k.name, expr(reflect.TypeOf(k.value)))
	}
	for len(queue) > 0 {
		sort.Slice(queue, func(i, j int) bool { return openapiName(queue[i]) < openapiName(queue[j]) })
		t := queue[0]
		queue = queue[1:]
		fmt.Printf("type %s", openapiName(t))
		s := specs[openapiName(t)]
		if m, _ := s["x-kubernetes-map-type"].(string); m != "" {
			fmt.Printf(" map=%s", m)
		}
		fmt.Println()
		required := map[string]bool{}
		if r, ok := s["required"].([]any); ok {
			for _, n := range r {
				required[n.(string)] = true
			}
		}
		props, _ := s["properties"].(map[string]any)
		fields(t, props, required)
	}
}

func or(s string) string {
	if s == "" {
		return "core"
	}
	return s
}

func fields(t reflect.Type, props map[string]any, required map[string]bool) {
	for i := 0; i < t.NumField(); i++ {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		parts := strings.Split(tag, ",")
		name := parts[0]
		if name == "-" {
			continue
		}
		inline := (f.Anonymous && name == "") || strings.Contains(tag, ",inline")
		number := "-"
		if p := strings.Split(f.Tag.Get("protobuf"), ","); len(p) > 1 {
			number = p[1]
		}
		if f.Type == reflect.TypeOf(meta.TypeMeta{}) {
			fmt.Println(" apiVersion - string omit")
			fmt.Println(" kind - string omit")
			continue
		}
		if inline {
			fmt.Printf(" + %s %s\n", number, expr(f.Type))
			continue
		}
		out := fmt.Sprintf(" %s %s %s", name, number, expr(f.Type))
		for _, o := range parts[1:] {
			if o == "omitempty" || o == "omitzero" {
				out += " omit"
				break
			}
		}
		if required[name] {
			out += " required"
		}
		if p := f.Tag.Get("patchStrategy"); p != "" {
			out += " patch=" + p
		}
		if p := f.Tag.Get("patchMergeKey"); p != "" {
			out += " key=" + p
		}
		if s, ok := props[name].(map[string]any); ok {
			if m, _ := s["x-kubernetes-map-type"].(string); m != "" {
				out += " map=" + m
			}
			if l, _ := s["x-kubernetes-list-type"].(string); l != "" {
				out += " list=" + l
				if keys, ok := s["x-kubernetes-list-map-keys"].([]any); ok {
					var ks []string
					for _, k := range keys {
						ks = append(ks, k.(string))
					}
					out += ":" + strings.Join(ks, ",")
				}
			}
			if d, ok := s["default"]; ok {
				b, _ := json.Marshal(d)
				if string(b) != `""` && string(b) != "{}" && string(b) != "0" && string(b) != "false" && !strings.Contains(string(b), " ") {
					out += " default=" + string(b)
				}
			}
		}
		fmt.Println(out)
	}
}
