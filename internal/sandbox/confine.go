package sandbox

const defaultMemory = 1 << 30

func reason(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}
