package catalog

//go:generate go test . -run TestEdition -write

// Edition is the day on which the files changed last. A bundle that was made before it is older than what is built in.
const Edition = "2026-11-26"
