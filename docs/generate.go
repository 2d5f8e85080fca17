// Package docs holds the documentation. Its only code makes the generated pages, and its tests hold all pages to the program.
package docs

//go:generate go run ../cmd/chaperone reference reference
