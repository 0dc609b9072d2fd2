package api

import (
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"
)

// call carries one request out: it writes an answer, or returns the error that is to be one.
type call = func(*Server, *gin.Context) error

// route is one call of the API.
type route struct {
	method, path string
	do           call
	public       bool     // needs no bearer token
	query        []string // parameters that it knows
	conditional  bool     // takes If-Match
}

// The kinds of calls, as the paths name resources and collections of them.

// list is a page of a collection, narrowed by filters.
func list(path string, do call, filters ...string) route {
	return route{method: http.MethodGet, path: path, do: do,
		query: append([]string{"limit", "cursor", "fields"}, filters...)}
}

// show is one resource, or what of it the parameters ask for.
func show(path string, do call, params ...string) route {
	return route{method: http.MethodGet, path: path, do: do, query: append([]string{"fields"}, params...)}
}

// serve is a GET of something that is no resource.
func serve(path string, do call) route { return route{method: http.MethodGet, path: path, do: do} }

// create makes a resource of a collection.
func create(path string, do call) route { return route{method: http.MethodPost, path: path, do: do} }

// act does something with one resource.
func act(path string, do call) route {
	return route{method: http.MethodPost, path: path, do: do, conditional: true}
}

// tell does something with what has no version.
func tell(path string, do call) route { return route{method: http.MethodPost, path: path, do: do} }

// change changes, sets or deletes one resource.
func change(method, path string, do call, query ...string) route {
	return route{method: method, path: path, do: do, query: query, conditional: true}
}

// revoke ends what is in no record of its own, so it has no version.
func revoke(path string, do call) route { return route{method: http.MethodDelete, path: path, do: do} }

// set changes what is in no record, so it has no version.
func set(path string, do call) route { return route{method: http.MethodPut, path: path, do: do} }

// open needs no bearer token.
func (r route) open() route {
	r.public = true
	return r
}

// routes is the whole API in the order of openapi.yaml.
func routes() []route { return slices.Concat(clusterRoutes(), volumeRoutes(), otherRoutes()) }

func clusterRoutes() []route {
	return []route{
		serve("/v1/health", (*Server).getLiveness).open(),
		show("/v1/health/detail", (*Server).getHealth),
		serve("/v1/version", (*Server).getVersion).open(),
		serve("/v1/openapi.json", (*Server).getOpenAPIJSON),
		serve("/v1/openapi.yaml", (*Server).getOpenAPIYAML),
		show("/v1/cluster", (*Server).getCluster),
		create("/v1/join", (*Server).joinNode).open(),
		list("/v1/nodes", (*Server).listNodes, "name"),
		show("/v1/nodes/:node", (*Server).getNode),
		list("/v1/nodes/:node/audit", (*Server).listAudit),
		show("/v1/nodes/:node/logging", (*Server).getLogging),
		set("/v1/nodes/:node/logging", (*Server).putLogging),
		serve("/v1/nodes/:node/diagnostics", (*Server).getDiagnostics),
		list("/v1/devices", (*Server).listDevices, "node"),
		create("/v1/devices", (*Server).createDevice),
		show("/v1/devices/:device", (*Server).getDevice),
		change("PATCH", "/v1/devices/:device", (*Server).updateDevice),
		act("/v1/devices/:device/scrub", (*Server).scrubDevice),
		show("/v1/devices/:device/statistics", (*Server).getDeviceStatistics, "history"),
		list("/v1/pools", (*Server).listPools, "name"),
		create("/v1/pools", (*Server).createPool),
		show("/v1/pools/:pool", (*Server).getPool),
		change("PATCH", "/v1/pools/:pool", (*Server).updatePool),
		change("DELETE", "/v1/pools/:pool", (*Server).deletePool),
		show("/v1/pools/:pool/balance", (*Server).getPoolBalance),
		show("/v1/pools/:pool/statistics", (*Server).getPoolStatistics, "history"),
		act("/v1/pools/:pool/changes", (*Server).changePool),
		change("PUT", "/v1/pools/:pool/qos", (*Server).putPoolQoS),
	}
}

func volumeRoutes() []route {
	return []route{
		list("/v1/volumes", (*Server).listVolumes, "name", "pool", "project", "snapshot", "hidden", "health",
			"host", "metadata"),
		create("/v1/volumes", (*Server).createVolume),
		show("/v1/volumes/:volume", (*Server).getVolume),
		change("PATCH", "/v1/volumes/:volume", (*Server).updateVolume),
		change("DELETE", "/v1/volumes/:volume", (*Server).deleteVolume, "cascade", "erase"),
		act("/v1/volumes/:volume/revert", (*Server).revertVolume),
		act("/v1/volumes/:volume/flatten", (*Server).flattenVolume),
		change("PUT", "/v1/volumes/:volume/owner", (*Server).moveVolume),
		change("PUT", "/v1/volumes/:volume/home", (*Server).putVolumeHome),
		change("DELETE", "/v1/volumes/:volume/home", (*Server).deleteVolumeHome),
		show("/v1/volumes/:volume/statistics", (*Server).getVolumeStatistics, "history"),
		show("/v1/volumes/:volume/space", (*Server).getVolumeSpace),
		list("/v1/volumes/:volume/snapshots", (*Server).listVolumeSnapshots, "name"),
		list("/v1/volumes/:volume/exports", (*Server).listExports),
		change("DELETE", "/v1/volumes/:volume/exports", (*Server).deleteExports),
		show("/v1/volumes/:volume/exports/:host", (*Server).getExport),
		change("PUT", "/v1/volumes/:volume/exports/:host", (*Server).putExport),
		change("DELETE", "/v1/volumes/:volume/exports/:host", (*Server).deleteExport),
		list("/v1/tasks", (*Server).listTasks, "kind", "subject"),
		show("/v1/tasks/:task", (*Server).getTask),
		tell("/v1/tasks/:task/cancel", (*Server).cancelTask),
		list("/v1/events", (*Server).listEvents, "severity", "kind", "subject"),
		list("/v1/snapshots", (*Server).listSnapshots, "schedule", "host", "metadata"),
		create("/v1/snapshots", (*Server).createSnapshot),
		show("/v1/snapshots/:snapshot", (*Server).getSnapshot),
		change("PATCH", "/v1/snapshots/:snapshot", (*Server).updateSnapshot),
		change("DELETE", "/v1/snapshots/:snapshot", (*Server).deleteSnapshot),
		list("/v1/snapshots/:snapshot/exports", (*Server).listExports),
		change("DELETE", "/v1/snapshots/:snapshot/exports", (*Server).deleteExports),
		show("/v1/snapshots/:snapshot/exports/:host", (*Server).getExport),
		change("PUT", "/v1/snapshots/:snapshot/exports/:host", (*Server).putExport),
		change("DELETE", "/v1/snapshots/:snapshot/exports/:host", (*Server).deleteExport),
	}
}

func otherRoutes() []route {
	return []route{
		list("/v1/groups", (*Server).listGroups, "name"),
		create("/v1/groups", (*Server).createGroup),
		show("/v1/groups/:group", (*Server).getGroup),
		change("PATCH", "/v1/groups/:group", (*Server).updateGroup),
		change("DELETE", "/v1/groups/:group", (*Server).deleteGroup),
		act("/v1/groups/:group/revert", (*Server).revertGroup),
		list("/v1/group-snapshots", (*Server).listGroupSnapshots, "group"),
		create("/v1/group-snapshots", (*Server).createGroupSnapshot),
		show("/v1/group-snapshots/:group_snapshot", (*Server).getGroupSnapshot),
		change("PATCH", "/v1/group-snapshots/:group_snapshot", (*Server).updateGroupSnapshot),
		change("DELETE", "/v1/group-snapshots/:group_snapshot", (*Server).deleteGroupSnapshot),
		list("/v1/schedules", (*Server).listSchedules, "name", "volume", "group"),
		create("/v1/schedules", (*Server).createSchedule),
		show("/v1/schedules/:schedule", (*Server).getSchedule),
		change("PATCH", "/v1/schedules/:schedule", (*Server).updateSchedule),
		change("DELETE", "/v1/schedules/:schedule", (*Server).deleteSchedule),
		list("/v1/hosts", (*Server).listHosts, "connected"),
		show("/v1/hosts/:host", (*Server).getHost),
		revoke("/v1/hosts/:host", (*Server).deleteHost),
		list("/v1/projects", (*Server).listProjects),
		show("/v1/projects/:project", (*Server).getProject),
		change("PUT", "/v1/projects/:project", (*Server).putProject),
		change("PUT", "/v1/volumes/:volume/qos", (*Server).putVolumeQoS),
		change("DELETE", "/v1/volumes/:volume/qos", (*Server).deleteVolumeQoS),
		show("/v1/authority", (*Server).getAuthority),
		act("/v1/authority/rotate", (*Server).rotateAuthority),
		show("/v1/keys", (*Server).listKeys),
		act("/v1/keys/rotate", (*Server).rotateKey),
		list("/v1/tokens", (*Server).listTokens),
		create("/v1/tokens", (*Server).createToken),
		show("/v1/tokens/:token", (*Server).getToken),
		change("DELETE", "/v1/tokens/:token", (*Server).deleteToken),
	}
}
