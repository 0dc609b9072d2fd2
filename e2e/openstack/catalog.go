package openstack

import (
	"context"
	"fmt"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/endpoints"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/services"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"
)

const (
	region   = "RegionOne"
	password = "pw" // of every user; Keystone listens on the loopback for the length of one test
)

// login authenticates a user with Keystone.
func (s *site) login(ctx context.Context, user, project string) (*gophercloud.ProviderClient, error) {
	client, err := openstack.AuthenticatedClient(ctx, gophercloud.AuthOptions{
		IdentityEndpoint: s.KeystoneURL(), Username: user, Password: password,
		TenantName: project, DomainID: "default", AllowReauth: true,
	})
	if err != nil {
		return nil, fmt.Errorf("log in as %s: %w", user, err)
	}
	return client, nil
}

// fillCatalog makes the service users (one for each service, ashlar for the cluster's nodes) and Cinder's
// endpoints.
func (s *site) fillCatalog(ctx context.Context) error {
	identity, err := s.identity(ctx)
	if err != nil {
		return fmt.Errorf("fill the catalog: %w", err)
	}
	if err := makeServiceUsers(ctx, identity); err != nil {
		return fmt.Errorf("fill the catalog: %w", err)
	}
	return s.addToCatalog(ctx, [][3]string{{"cinderv3", "volumev3", s.CinderURL() + "/%(project_id)s"}})
}

// identity is Keystone, as the administrator.
func (s *site) identity(ctx context.Context) (*gophercloud.ServiceClient, error) {
	admin, err := s.login(ctx, "admin", "admin")
	if err != nil {
		return nil, err
	}
	return openstack.NewIdentityV3(admin, gophercloud.EndpointOpts{Region: region})
}

// addToCatalog enters services, each a name, a type and a URL, into the catalog. Who has logged in before
// does not see them.
func (s *site) addToCatalog(ctx context.Context, entries [][3]string) error {
	identity, err := s.identity(ctx)
	if err != nil {
		return fmt.Errorf("fill the catalog: %w", err)
	}
	for _, one := range entries {
		if err := register(ctx, identity, one[0], one[1], one[2]); err != nil {
			return err
		}
	}
	return nil
}

// register enters a service into the catalog.
func register(ctx context.Context, identity *gophercloud.ServiceClient, name, kind, url string) error {
	service, err := services.Create(ctx, identity, services.CreateOpts{Name: name, Type: kind}).Extract()
	if err != nil {
		return fmt.Errorf("fill the catalog: service %s: %w", name, err)
	}
	sides := []gophercloud.Availability{gophercloud.AvailabilityPublic, gophercloud.AvailabilityInternal}
	for _, side := range sides {
		if err := endpoints.Create(ctx, identity, endpoints.CreateOpts{
			Availability: side, Region: region, ServiceID: service.ID, URL: url,
		}).Err; err != nil {
			return fmt.Errorf("fill the catalog: endpoint of %s: %w", name, err)
		}
	}
	return nil
}

// makeServiceUsers gives them the roles admin and service in the project service. Without the
// role service Cinder takes nobody for Nova (service_token_roles) and refuses to delete attachments.
func makeServiceUsers(ctx context.Context, identity *gophercloud.ServiceClient) error {
	project, err := projects.Create(ctx, identity,
		projects.CreateOpts{Name: "service", DomainID: "default"}).Extract()
	if err != nil {
		return fmt.Errorf("project: %w", err)
	}
	if err := roles.Create(ctx, identity, roles.CreateOpts{Name: "service"}).Err; err != nil {
		return fmt.Errorf("role: %w", err)
	}
	pages, err := roles.List(identity, nil).AllPages(ctx)
	if err != nil {
		return fmt.Errorf("roles: %w", err)
	}
	known, err := roles.ExtractRoles(pages)
	if err != nil {
		return fmt.Errorf("roles: %w", err)
	}
	for _, name := range []string{"cinder", "nova", "glance", "placement", "barbican", "ashlar"} {
		user, err := users.Create(ctx, identity, users.CreateOpts{
			Name: name, DomainID: "default", Password: password,
		}).Extract()
		if err != nil {
			return fmt.Errorf("user %s: %w", name, err)
		}
		for _, role := range known {
			if role.Name != "admin" && role.Name != "service" {
				continue
			}
			if err := roles.Assign(ctx, identity, role.ID,
				roles.AssignOpts{UserID: user.ID, ProjectID: project.ID}).Err; err != nil {
				return fmt.Errorf("role %s of %s: %w", role.Name, name, err)
			}
		}
	}
	return nil
}
