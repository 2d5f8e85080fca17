package main

import "context"

func makeInnocent(ctx context.Context, out string, scale float64, classes []string) error { return nil }
