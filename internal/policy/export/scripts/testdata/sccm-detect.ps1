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

# An exit of 0 with a line of output means installed, without one not installed; any other exit means unknown.
try {
    $found = @(Find-Messenger)
} catch {
    [Console]::Error.WriteLine('could not look: ' + $_.Exception.Message)
    exit 2
}
if ($found.Count -gt 0) { Write-Output (Get-Line $found) }
exit 0
