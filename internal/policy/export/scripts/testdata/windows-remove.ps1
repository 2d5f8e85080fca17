# Made by chaperone policy export from policy 0123456789abcdef.
# In 32-bit PowerShell half of the machine is not seen.

$Messengers = @(
    @{ App = 'chat'; Name = 'Bob''s Chat'; Files = @('chat.exe', 'meet.exe'); Products = @('Chat', ('Chat' + [char]::ConvertFromUtf32(0x2019) + '); calc'), 'Meet'); AppX = @('Vendor.Chat'); Signers = @(@{ Parts = @(('CN=Chat S.' + [char]::ConvertFromUtf32(0xE0) + ' r.l.'), 'O=Chat, Inc.', ('S=Z' + [char]::ConvertFromUtf32(0xFC) + 'rich')); Shared = $false }, @{ Parts = @('O=Big Vendor'); Shared = $true }) }
)
$Stopped = @{ '2222222222222222222222222222222222222222222222222222222222222222' = 'chat' }
$Allowed = @{ '1111111111111111111111111111111111111111111111111111111111111111' = $true }

Set-StrictMode -Version 2
$ErrorActionPreference = 'Stop'

$Unread = 0
$Names = @{}
foreach ($m in $Messengers) { foreach ($n in $m.Files) { $Names[$n.ToLowerInvariant()] = $true } }

# Get-Named returns a property of an object that may lack it.
function Get-Named($Object, [string] $Name) {
    $p = $Object.PSObject.Properties[$Name]
    if ($null -eq $p -or $null -eq $p.Value) { return '' }
    return [string] $p.Value
}

# Get-Signer returns the parts of the signer's name, one each, of a file whose signature is valid.
function Get-Signer([string] $File) {
    $signature = Get-AuthenticodeSignature -LiteralPath $File
    if ($signature.Status -ne 'Valid') { return }
    foreach ($line in ($signature.SignerCertificate.SubjectName.Format($true) -split "`r?`n")) {
        if ($line -ne '') { $line.Replace('"', '') }
    }
}

# Test-Signer tells whether all parts of a known signer stand in a signer's name.
function Test-Signer($Known, $Parts) {
    foreach ($p in $Known.Parts) { if ($Parts -notcontains $p) { return $false } }
    return $true
}

# Test-Local tells whether a path is on a drive of this machine: what a person wrote into a key sends the system account nowhere else.
function Test-Local([string] $Path) { return ($Path -match '^[A-Za-z]:\\[^:]+$') }

# Get-Messenger returns the messenger that a file is, by its content or by its signer, never by its name alone.
function Get-Messenger([string] $File) {
    try {
        return (Get-Known $File)
    } catch {
        $script:Unread += 1
        return ''
    }
}

function Get-Known([string] $File) {
    $item = Get-Item -LiteralPath $File -Force
    $hash = (Get-FileHash -LiteralPath $File -Algorithm SHA256).Hash.ToLowerInvariant()
    if ($Allowed.ContainsKey($hash)) { return '' }
    if ($Stopped.ContainsKey($hash)) { return $Stopped[$hash] }
    $parts = @(Get-Signer $File)
    $product = [string] $item.VersionInfo.ProductName
    foreach ($m in $Messengers) {
        foreach ($s in $m.Signers) {
            if (-not (Test-Signer $s $parts)) { continue }
            if ($s.Shared -and $m.Products -notcontains $product.Trim()) { continue }
            return $m.App
        }
    }
    return ''
}

# Get-Installed returns what the uninstall keys of the machine and of each person who is signed in say.
function Get-Installed {
    $keys = @(
        @{ Path = 'Registry::HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall'; Machine = $true },
        @{ Path = 'Registry::HKEY_LOCAL_MACHINE\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall'; Machine = $true }
    )
    foreach ($hive in Get-ChildItem -LiteralPath 'Registry::HKEY_USERS' -ErrorAction SilentlyContinue) {
        if ($hive.PSChildName -match '^S-1-(5-21|12-1)-[0-9-]+$') {
            $keys += @{ Path = 'Registry::HKEY_USERS\' + $hive.PSChildName + '\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall'; Machine = $false }
        }
    }
    foreach ($k in $keys) {
        foreach ($sub in Get-ChildItem -LiteralPath $k.Path -ErrorAction SilentlyContinue) {
            $p = Get-ItemProperty -LiteralPath $sub.PSPath -ErrorAction SilentlyContinue
            if ($null -eq $p) { continue }
            [pscustomobject] @{
                Key = $sub.PSChildName; Name = (Get-Named $p 'DisplayName'); Machine = $k.Machine; Msi = ((Get-Named $p 'WindowsInstaller') -eq '1')
                Location = (Get-Named $p 'InstallLocation').Trim('" '); Icon = ((Get-Named $p 'DisplayIcon') -replace ',-?[0-9]+$', '').Trim('" ')
                Quiet = (Get-Named $p 'QuietUninstallString')
            }
        }
    }
}

# Get-Candidate returns the files below a folder that are called like a messenger.
function Get-Candidate([string] $Folder, [int] $Depth) {
    if (-not (Test-Local $Folder) -or -not (Test-Path -LiteralPath $Folder -PathType Container)) { return }
    Get-ChildItem -LiteralPath $Folder -Filter '*.exe' -File -Recurse -Depth $Depth -Force -ErrorAction SilentlyContinue |
        Where-Object { $Names.ContainsKey($_.Name.ToLowerInvariant()) } | ForEach-Object { $_.FullName }
}

# Get-KnownFolder returns where programs are put, by installers and by people.
function Get-KnownFolder {
    foreach ($name in 'ProgramFiles', 'ProgramFilesX86', 'CommonApplicationData') { [Environment]::GetFolderPath($name) }
    $profiles = Split-Path -Parent ([Environment]::GetFolderPath('CommonDesktopDirectory') | Split-Path -Parent)
    foreach ($p in Get-ChildItem -LiteralPath $profiles -Directory -Force -ErrorAction SilentlyContinue) {
        foreach ($below in 'AppData\Local', 'AppData\Roaming', 'Desktop', 'Downloads') { Join-Path $p.FullName $below }
    }
}

# Find-Messenger returns the named messengers that are on this machine.
function Find-Messenger {
    $seen = @{}
    foreach ($i in Get-Installed) {
        $files = @(Get-Candidate $i.Location 2)
        if ($i.Icon -match '\.exe$' -and (Test-Local $i.Icon) -and (Test-Path -LiteralPath $i.Icon -PathType Leaf)) { $files += $i.Icon }
        foreach ($f in $files) {
            if ($seen.ContainsKey($f.ToLowerInvariant())) { continue }
            $app = Get-Messenger $f
            if ($app -eq '') { continue }
            $seen[$f.ToLowerInvariant()] = $true
            [pscustomobject] @{ App = $app; Path = $f; How = 'installed'; Installed = $i }
        }
    }
    foreach ($folder in Get-KnownFolder) {
        foreach ($f in @(Get-Candidate $folder 3)) {
            if ($seen.ContainsKey($f.ToLowerInvariant())) { continue }
            $seen[$f.ToLowerInvariant()] = $true
            $app = Get-Messenger $f
            if ($app -ne '') { [pscustomobject] @{ App = $app; Path = $f; How = 'file'; Installed = $null } }
        }
    }
    $packages = @(Get-AppxPackage -AllUsers -ErrorAction SilentlyContinue)
    foreach ($m in $Messengers) {
        foreach ($p in $packages) {
            if ($m.AppX -contains $p.Name) { [pscustomobject] @{ App = $m.App; Path = $p.PackageFullName; How = 'appx'; Installed = $null } }
        }
    }
}

# Get-Line says in one line what was found; Intune shows 2,048 characters.
function Get-Line($Found) {
    $apps = @($Found | ForEach-Object { $_.App } | Sort-Object -Unique) -join ', '
    $line = $apps + ': ' + (@($Found | ForEach-Object { $_.Path }) -join '; ')
    if ($Unread -gt 0) { $line = 'files that could not be read: ' + $Unread + '; ' + $line }
    if ($line.Length -gt 2000) { $line = $line.Substring(0, 2000) }
    return $line
}

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
