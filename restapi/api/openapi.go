package api

import (
	_ "embed" // openapi.yaml
	"encoding/json"
	"fmt"

	"github.com/gin-gonic/gin"
	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var openAPI string

// document is openapi.yaml in both forms.
type document struct {
	yaml, json []byte
}

func loadDocument() (document, error) {
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(openAPI), &tree); err != nil {
		return document{}, fmt.Errorf("read openapi.yaml: %w", err)
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return document{}, fmt.Errorf("write openapi.yaml as JSON: %w", err)
	}
	return document{yaml: []byte(openAPI), json: text}, nil
}

func (s *Server) getOpenAPIJSON(c *gin.Context) error {
	c.Data(200, "application/json", s.doc.json)
	return nil
}

func (s *Server) getOpenAPIYAML(c *gin.Context) error {
	c.Data(200, "application/yaml", s.doc.yaml)
	return nil
}
