# shellcheck shell=bash
# An apt of our own, beside the machine's: its lists, cache and status live in
# one folder, and nothing is ever installed. It asks the mirror from which this
# machine itself gets its packages. Source this file.

# private_apt_open FOLDER TYPES SUITE... makes the apt state in FOLDER and
# fetches the lists. TYPES is "deb" or "deb-src".
private_apt_open() {
    local folder=$1 types=$2
    shift 2
    local mirror
    mirror=$(private_apt_mirror)
    if [ -z "$mirror" ]; then
        echo "no Debian mirror among this machine's apt sources" >&2
        return 1
    fi
    mkdir -p "$folder"/{state/lists/partial,cache/archives/partial,sources}
    : >"$folder/state/status"
    {
        printf 'Types: %s\nURIs: %s\nSuites: %s\nComponents: main\n' "$types" "$mirror" "$*"
        # A machine whose trusted keys are the archive's own has them here.
        if [ -e /usr/share/keyrings/debian-archive-keyring.gpg ]; then
            printf 'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n'
        fi
    } >"$folder/sources/debian.sources"
    # The machine's hooks are for its own lists and packages, its pins too.
    cat >"$folder/apt.conf" <<CONF
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
#clear Acquire::IndexTargets::deb::DEP-11-icons-small;
#clear Acquire::IndexTargets::deb::DEP-11-icons-hidpi;
#clear Acquire::IndexTargets::deb::CNF;
Dir::State "$folder/state";
Dir::State::status "$folder/state/status";
Dir::Cache "$folder/cache";
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$folder/sources";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
CONF
    apt-get -c "$folder/apt.conf" -qq update
}

# private_apt_mirror prints the address from which this machine gets Debian.
private_apt_mirror() {
    local codename release mirror
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
    for release in "$codename" stable; do
        # shellcheck disable=SC2016 # apt's own variables
        mirror=$(apt-get indextargets --no-release-info --format '$(REPO_URI)' \
            'Created-By: Packages' "Release: $release" | head -n 1)
        if [ -n "$mirror" ]; then
            echo "$mirror"
            return
        fi
    done
}
