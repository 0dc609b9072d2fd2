package api_test

// encryptOverHTTP makes an encrypted volume, for which the cluster needs a key.
func (w *world) encryptOverHTTP(ok func(int, string, string, string, ...string) reply) {
	w.Key("k1")
	ok(200, "POST", "/v1/keys/rotate", `{"to":"k1"}`)
	ok(201, "POST", "/v1/volumes",
		`{"name":"sealed","pool":"gold","size_bytes":4096,"encryption":"aes-256-xts"}`)
	ok(200, "GET", "/v1/keys", "")
}
