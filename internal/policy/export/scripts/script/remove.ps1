
# Those who may write where an uninstaller lies: the system, administrators, the installer of Windows; the creator of what is below a folder.
$Trusted = @('S-1-5-18', 'S-1-5-32-544', 'S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464', 'S-1-3-0')

# Test-Protected tells whether only those may change a file or a folder.
function Test-Protected([string] $Path) {
    $acl = Get-Acl -LiteralPath $Path
    $sid = [System.Security.Principal.SecurityIdentifier]
    if ($Trusted -notcontains $acl.GetOwner($sid).Value) { return $false }
    $write = [System.Security.AccessControl.FileSystemRights] 'WriteData, AppendData, WriteAttributes, WriteExtendedAttributes, Delete, DeleteSubdirectoriesAndFiles, ChangePermissions, TakeOwnership'
    foreach ($rule in $acl.GetAccessRules($true, $true, $sid)) {
        $generic = ([int] $rule.FileSystemRights -band 0x50000000) -ne 0
        if ($rule.AccessControlType -ne 'Allow' -or $Trusted -contains $rule.IdentityReference.Value) { continue }
        if ($generic -or ($rule.FileSystemRights -band $write) -ne 0) { return $false }
    }
    return $true
}

# Test-Uninstaller tells whether an uninstaller lies below the program folders of the machine, and nobody else may have put it there.
function Test-Uninstaller([string] $File) {
    if ($File -match '\\\.\.?\\|/' -or -not (Test-Path -LiteralPath $File -PathType Leaf)) { return $false }
    foreach ($name in 'ProgramFiles', 'ProgramFilesX86') {
        $root = [Environment]::GetFolderPath($name)
        if ($root -eq '' -or -not $File.StartsWith($root + '\', [StringComparison]::OrdinalIgnoreCase)) { continue }
        for ($p = $File; $p.Length -gt $root.Length; $p = Split-Path -Parent $p) {
            if ((Get-Item -LiteralPath $p -Force).Attributes -band [IO.FileAttributes]::ReparsePoint) { return $false }
            if (-not (Test-Protected $p)) { return $false }
        }
        return $true
    }
    return $false
}

# Invoke-Program starts a program without a shell, and waits for it.
function Invoke-Program([string] $File, [string] $Arguments) {
    $start = @{ FilePath = $File; Wait = $true; PassThru = $true; WindowStyle = 'Hidden' }
    if ($Arguments -ne '') { $start.ArgumentList = $Arguments }
    return (Start-Process @start).ExitCode
}

# Test-Named tells whether an installed product is the messenger itself: a suite that brings it is not uninstalled for it.
function Test-Named([string] $Name, [string] $App) {
    foreach ($m in $Messengers) {
        if ($m.App -ne $App) { continue }
        foreach ($p in @($m.Products) + @($m.Name)) {
            if ($Name -eq $p -or $Name.StartsWith($p + ' ', [StringComparison]::OrdinalIgnoreCase)) { return $true }
        }
    }
    return $false
}

# Remove-Installed runs the uninstaller that the machine's own keys name. A key that a person can write is never obeyed.
function Remove-Installed($Installed, [string] $App) {
    if (-not $Installed.Machine -or -not (Test-Named $Installed.Name $App)) { return $false }
    if ($Installed.Msi) {
        if ($Installed.Key -notmatch '^\{[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}$') { return $false }
        $msiexec = Join-Path ([Environment]::SystemDirectory) 'msiexec.exe'
        return (@(0, 1605, 1641, 3010) -contains (Invoke-Program $msiexec ('/x ' + $Installed.Key + ' /qn /norestart')))
    }
    if ($Installed.Quiet -notmatch '^\s*(?:"(?<file>[A-Za-z]:\\[^"]+\.exe)"|(?<file>[A-Za-z]:\\[^" ]+\.exe))(?:\s+(?<rest>.*))?$') { return $false }
    $file = $Matches['file']
    $rest = ''
    if ($Matches.ContainsKey('rest')) { $rest = $Matches['rest'] }
    if (-not (Test-Uninstaller $file)) { return $false }
    return ((Invoke-Program $file $rest) -eq 0)
}

# Move-ToQuarantine has Chaperone take a file away, so that it can be brought back.
function Move-ToQuarantine([string] $File) {
    $chaperone = Join-Path ([Environment]::GetFolderPath('ProgramFiles')) 'Chaperone\chaperone.exe'
    $data = Join-Path ([Environment]::GetFolderPath('CommonApplicationData')) 'Chaperone'
    if (-not (Test-Uninstaller $chaperone)) { return $false }
    & $chaperone scan --quarantine --policy (Join-Path $data 'policy.yaml') --data $data $File | Out-Null
    return (-not (Test-Path -LiteralPath $File))
}

try {
    foreach ($f in @(Find-Messenger)) {
        $done = $false
        if ($f.How -eq 'appx') {
            Remove-AppxPackage -Package $f.Path -AllUsers -ErrorAction SilentlyContinue
            continue
        }
        if ($f.How -eq 'installed') { $done = Remove-Installed $f.Installed $f.App }
        if (-not $done -and (Test-Path -LiteralPath $f.Path)) { $done = Move-ToQuarantine $f.Path }
    }
    $found = @(Find-Messenger)
} catch {
    Write-Output ('could not remove: ' + $_.Exception.Message)
    exit 1
}
if ($found.Count -gt 0) {
    Write-Output ('still there: ' + (Get-Line $found))
    exit 1
}
Write-Output 'removed'
exit 0
