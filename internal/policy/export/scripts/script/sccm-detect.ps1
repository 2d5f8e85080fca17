
# An exit of 0 with a line of output means installed, without one not installed; any other exit means unknown.
try {
    $found = @(Find-Messenger)
} catch {
    [Console]::Error.WriteLine('could not look: ' + $_.Exception.Message)
    exit 2
}
if ($found.Count -gt 0) { Write-Output (Get-Line $found) }
exit 0
