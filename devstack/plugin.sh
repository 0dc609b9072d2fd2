#!/bin/bash
#
# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#    http://www.apache.org/licenses/LICENSE-2.0
#
# plugin.sh: Ashlar as a back end of Cinder, and a cluster of one node.
#
# Called as "plugin.sh <mode> [<phase>]"; see README.md and settings.

if [[ "$1" == "stack" ]]; then
    case "$2" in
        pre-install)
            echo_summary "Preparing this host for Ashlar volumes"
            install_ashlar_host
            ;;
        install)
            echo_summary "Installing Ashlar"
            install_ashlar
            ;;
        post-config)
            if is_service_enabled ashlar && _ashlar_is_ours; then
                echo_summary "Starting an Ashlar cluster"
                configure_ashlar
                start_ashlar
            fi
            echo_summary "Configuring OpenStack for Ashlar"
            configure_ashlar_clients
            ;;
        extra)
            if is_service_enabled ashlar && _ashlar_is_ours; then
                _ashlar status
            fi
            ;;
        test-config)
            if is_service_enabled tempest; then
                echo_summary "Configuring Tempest for Ashlar"
                configure_ashlar_tempest
            fi
            ;;
    esac
elif [[ "$1" == "unstack" ]]; then
    if _ashlar_is_ours; then
        stop_ashlar
    fi
elif [[ "$1" == "clean" ]]; then
    cleanup_ashlar
fi
