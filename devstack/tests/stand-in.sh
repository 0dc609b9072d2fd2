#!/bin/bash
#
# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#    http://www.apache.org/licenses/LICENSE-2.0
#
# stand-in.sh: what stands for DevStack in a test of the plugin.
#
# Everything that would install, start or change something is written to
# $CALLS instead. With REAL=1 the functions that DevStack's own checkout has
# and that change only files are left to it.

function _log {
    echo "$*" >> $CALLS
}

function install_package {
    _log install_package "$@"
}

function pip_install {
    _log pip_install "$@"
}

function run_process {
    _log run_process "$@"
}

function stop_process {
    _log stop_process "$@"
}

function wait_for_service {
    _log wait_for_service "$@"
}

function git_clone {
    _log git_clone "$@"
}

function echo_summary {
    _log "== $*"
}

function die {
    _log die "$@"
    exit 1
}

function verify_disabled_services {
    :
}


# Root is only needed below the test's own directory.
function sudo {
    case "$1" in
        install)
            mkdir -p "${@: -2}"
            ;;
        rm)
            [[ "$3" == $WORK/* ]] && "$@"
            ;;
        tee)
            cat >/dev/null
            ;;
        crudini|sed|touch|mkdir)
            "$@"
            ;;
    esac
    _log sudo "$@"
}

function is_service_enabled {
    [[ ",$ENABLED_SERVICES," == *",$1,"* ]]
}

if [[ "${REAL:-}" != 1 ]]; then
    function define_plugin {
        _log define_plugin "$@"
    }

    function enable_service {
        ENABLED_SERVICES+=",$1"
    }


    # iniset [-sudo] file section option value, as functions of DevStack do
    function iniset {
        [[ "$1" == -sudo ]] && shift
        python3 - "$@" <<'EOF'
import configparser
import sys

path, section, option, value = sys.argv[1:]
ini = configparser.RawConfigParser()
ini.read(path)
if not ini.has_section(section) and section != 'DEFAULT':
    ini.add_section(section)
ini.set(section, option, value)
with open(path, 'w') as file:
    ini.write(file)
EOF
    }

    # run_phase mode [phase], for this one plugin
    function run_phase {
        case "$1" in
            override_defaults) source $PLUGIN/override-defaults ;;
            source) source $PLUGIN/settings ;;
            *) source $PLUGIN/plugin.sh "$@" ;;
        esac
    }
fi
