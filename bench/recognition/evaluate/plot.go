package main

import (
	"fmt"
	"strings"
)

// plot draws the reliability diagram: what was called so sure, against how often it was right, with 95 % intervals.
func (c calibration) plot() string {
	const size, margin = 400.0, 50.0
	x := func(v float64) float64 { return margin + (v-0.4)/0.6*size }
	y := func(v float64) float64 { return margin + (1-v)/0.6*size }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12" fill="none">`+"\n", size+2*margin, size+2*margin+30)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/><title>Reliability of confidence</title>`+"\n")
	for v := 0.4; v < 1.05; v += 0.1 {
		fmt.Fprintf(&b, `<path d="M%.1f %.1fV%.1fM%.1f %.1fH%.1f" stroke="#ddd"/>`, x(v), y(0.4), y(1), x(0.4), y(v), x(1))
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" fill="#333" text-anchor="middle">%.1f</text><text x="%.1f" y="%.1f" fill="#333" text-anchor="end">%.1f</text>`+"\n",
			x(v), y(0.4)+18, v, x(0.4)-6, y(v)+4, v)
	}
	fmt.Fprintf(&b, `<path d="M%.1f %.1fL%.1f %.1f" stroke="#888" stroke-dasharray="4 4"/>`+"\n", x(0.4), y(0.4), x(1), y(1))
	draw := func(bins []bin, colour string, shift float64) {
		for _, bin := range bins {
			low, high := bin.interval()
			at := x(max(bin.stated, 0.4)) + shift
			fmt.Fprintf(&b, `<path d="M%.1f %.1fV%.1f" stroke="%s"/><circle cx="%.1f" cy="%.1f" r="5" fill="%s"/>`,
				at, y(max(low, 0.4)), y(max(high, 0.4)), colour, at, y(max(bin.share(), 0.4)), colour)
			fmt.Fprintf(&b, `<title>called %.2f, right %d of %d</title>`+"\n", bin.stated, bin.right, bin.claims)
		}
	}
	draw(c.byStated, "#0b6", -3)
	draw(c.byFitted, "#06c", 3)
	fmt.Fprintf(&b, `<text x="%g" y="%g" fill="#333" text-anchor="middle">confidence</text>`, margin+size/2, size+margin+38)
	fmt.Fprintf(&b, `<text x="14" y="%g" fill="#333" text-anchor="middle" transform="rotate(-90 14 %g)">share that was right</text>`, margin+size/2, margin+size/2)
	fmt.Fprintf(&b, `<text x="%g" y="30" fill="#0b6">● as stated</text><text x="%g" y="30" fill="#06c">● fitted on other captures</text>`+"\n</svg>\n", margin, margin+100)
	return b.String()
}
