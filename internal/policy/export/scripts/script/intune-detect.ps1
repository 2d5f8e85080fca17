
# An exit of 1 has Intune run the remediation, 0 not; any other is shown as an error.
try {
    $found = @(Find-Messenger)
} catch {
    Write-Output ('could not look: ' + $_.Exception.Message)
    exit 2
}
if ($found.Count -eq 0) {
    Write-Output ('no messenger that policy stops; files that could not be read: ' + $Unread)
    exit 0
}
Write-Output (Get-Line $found)
exit 1
