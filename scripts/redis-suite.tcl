# What scripts/redis-suite changes in Redis's test suite: its copy of
# tests/test_helper.tcl sources this file just before it parses its arguments.
#
# In every run the random numbers of a unit begin with the same seed. If
# SUITE_MODULE is set, every server that start_server starts loads the module,
# except those with cluster-enabled yes, which the module refuses. If
# SUITE_REMOTE_PORTS is set too, each of them has an organisation, templates
# that match every key with a printable first character, and a remote of its
# own, which is a plain Redis.
#
# FLUSHALL and FLUSHDB are no deletions for the module, so that what they remove
# would come back; a test that begins with FLUSHALL means an empty database. So
# if SUITE_DATABASE_0 is yes, they empty the remote as well.
#
# In unit/acl and unit/acl-v2 users that ACL SETUSER makes get the grants that README
# says they need; the answers of ACL do not show these.
#
# And tests do not see the key sponsor:journal in DBSIZE, KEYS, SCAN, DEBUG DIGEST, a
# stream of replication, and an AOF: it is there, README says so, and hundreds of lines count
# what is there. Each of these looks away from keys of that prefix only.

namespace eval suite {
    variable remotes {}; # port -> config file of the server whose remote it is
    variable pids;       # config file -> pid of the server
    variable asking 0;   # whether commands are ours
    variable databases;  # connection -> database
    array set pids {}
    array set databases {}

    proc env {name} {
        if {[info exists ::env($name)]} { return $::env($name) }
        return ""
    }

    # templates are one for each printable character that a template can begin
    # with, and that needs no quoting in redis.conf.
    proc templates {} {
        set list {}
        for {set c 33} {$c < 127} {incr c} {
            set c_ [format %c $c]
            if {$c_ ni [list * \" ' \\ ]} { lappend list $c_* }
        }
        return [join $list]
    }

    # remote_of gives the port of the remote of a server. One whose server has
    # ended serves again, emptied.
    proc remote_of {config_file} {
        variable remotes
        variable pids
        dict for {port owner} $remotes {
            if {$owner eq $config_file} { return $port }
        }
        set needed {}
        foreach srv $::servers { lappend needed [dict get $srv config_file] }
        dict for {port owner} $remotes {
            if {$owner in $needed} continue
            if {[info exists pids($owner)] && ![catch {exec kill -0 $pids($owner)}]} continue
            if {[catch {ask 127.0.0.1 $port flushall}]} continue
            dict set remotes $port $config_file
            return $port
        }
        # The suite counts up its own ports by this variable.
        set last $::last_port_attempted
        lassign [env SUITE_REMOTE_PORTS] first count
        set ::last_port_attempted [expr {$first + [dict size $remotes] - 1}]
        set port [find_available_port $first $count]
        set ::last_port_attempted $last
        exec [env SUITE_SERVER] --port $port --bind 127.0.0.1 --save {} --appendonly no \
            --dir [file normalize tests/tmp] > /dev/null 2>@1 &
        for {set tries 0} {[catch {ask 127.0.0.1 $port ping}]} {incr tries} {
            if {$tries == 200} { error "the remote does not start" }
            after 20
        }
        dict set remotes $port $config_file
        return $port
    }

    # ask runs one command on a connection of its own.
    proc ask {host port args} {
        set client [redis $host $port 0 $::tls]
        set failed [catch {$client {*}$args} reply]
        $client close
        if {$failed} { error $reply }
        return $reply
    }

    # before_flush waits until nothing is on its way to the remote of the server
    # of the client with this id; it gives the port of the remote, or nothing.
    proc before_flush {id} {
        variable remotes
        lassign $::redis::addr($id) host port
        foreach srv $::servers {
            if {[dict get $srv port] ne $port} continue
            dict for {remote owner} $remotes {
                if {$owner eq [dict get $srv config_file]} {
                    catch {ask $host $port sponsor.wait 2000}
                    return $remote
                }
            }
        }
        return ""
    }

    proc after_flush {remote} {
        catch {ask 127.0.0.1 $remote eval {
            for _, key in ipairs(redis.call('keys', '*')) do
                if key:sub(1, 8) ~= 'sponsor:' then redis.call('unlink', key) end
            end
        } 0}
    }
}

# What tests see of a replication stream, or of an AOF, is without the writes to keys
# of the module's own, and without the MULTI, EXEC and SELECT that are there for
# these: a single write stands alone, also if the client sent it in a MULTI.
namespace eval suite {
    variable queue; # stream -> commands that are to be seen next
    variable real; # stream -> its database
    variable shown; # stream -> its database, as far as the test has seen
    array set queue {}
    array set real {}
    array set shown {}

    # next gives the next command but SELECT, behind the SELECT that it needs if it is
    # not ours; nothing if there is none.
    proc next {reader stream} {
        variable real
        variable shown
        while 1 {
            set command [$reader $stream]
            if {[lindex $command 0] eq "select"} {
                set real($stream) [lindex $command 1]
                continue
            }
            if {$command in {"" multi exec} || [string match sponsor:* [lindex $command 1]]
                || $real($stream) eq $shown($stream)} { return [list $command] }
            set shown($stream) $real($stream)
            return [list [list select $real($stream)] $command]
        }
    }

    # without_ours gives the next commands that are to be seen; none if there is
    # nothing more.
    proc without_ours {reader stream} {
        variable real
        while 1 {
            set commands [next $reader $stream]
            if {$commands eq {{}}} { return {} }
            set others {}
            if {$commands eq "multi"} {
                set database $real($stream)
                set commands {}
                while {[lindex $commands end] ni {exec ""} || $commands eq {}} { lappend commands {*}[next $reader $stream] }
                set commands [lrange $commands 0 end-1]
                set others [lsearch -all -inline -not -glob $commands {?* sponsor:*}]
                set writes [lsearch -all -inline -not -glob $others {select *}]
                if {[llength $writes] > 1 || ([llength $writes] == 1 && [llength $commands] == [llength $others])} {
                    # A SELECT that stood before MULTI has been deferred.
                    set before {}
                    if {[lindex $others 0] eq [list select $database]} { set others [lassign $others before] }
                    set others [list {*}[expr {$before eq {} ? {} : [list $before]}] multi {*}$others exec]
                }
            } elseif {![string match sponsor:* [lindex $commands end 1]]} {
                set others $commands
            }
            if {[llength $others] > 0} { return $others }
        }
    }

    proc see {reader stream} {
        variable queue
        variable real
        variable shown
        if {![info exists queue($stream)]} {
            set queue($stream) {}
            set real($stream) ""
            set shown($stream) ""
        }
        if {[llength $queue($stream)] == 0} {
            set queue($stream) [without_ours $reader $stream]
        }
        set queue($stream) [lassign $queue($stream) command]
        return $command
    }

    proc forget {stream} {
        variable queue
        unset -nocomplain queue($stream)
    }
}

rename execute_test_file suite_execute_test_file
proc execute_test_file {name} {
    expr {srand(1)}
    if {[suite::env SUITE_REMOTE_PORTS] ne ""} {
        # Some of these are defined behind where this file is sourced.
        foreach reader {read_from_replication_stream read_from_aof} {
            rename $reader suite_$reader
            interp alias {} $reader {} suite::see suite_$reader
        }
        rename attach_to_replication_stream suite_attach_to_replication_stream
        proc attach_to_replication_stream {} {
            set stream [suite_attach_to_replication_stream]
            suite::forget $stream
            return $stream
        }
    }
    suite_execute_test_file $name
}

if {[suite::env SUITE_MODULE] ne ""} {
    rename create_server_config_file suite_create_server_config_file
    proc create_server_config_file {filename config config_lines} {
        suite_create_server_config_file $filename $config $config_lines
        if {[dict exists $config cluster-enabled] && [dict get $config cluster-enabled] eq "yes"} return
        set fp [open $filename a]
        puts $fp "loadmodule [suite::env SUITE_MODULE]"
        if {[suite::env SUITE_REMOTE_PORTS] ne ""} {
            puts $fp "sponsor.org suite"
            puts $fp "sponsor.keys-unfiltered \"[suite::templates]\""
            puts $fp "sponsor.read-through block"
            puts $fp "sponsor.remote-host 127.0.0.1"
            puts $fp "sponsor.remote-port [suite::remote_of $filename]"
        }
        close $fp
    }

    rename spawn_server suite_spawn_server
    proc spawn_server {config_file stdout stderr args} {
        set suite::pids($config_file) [suite_spawn_server $config_file $stdout $stderr {*}$args]
    }
}

namespace eval suite {
    # in_database_0 tells whether a client's database is 0, as far as it has said.
    proc in_database_0 {id} {
        variable databases
        expr {![info exists databases($id)] || $databases($id) eq "0"}
    }

    # digest stands for DEBUG DIGEST, which covers the module's keys too: a number
    # made of DEBUG DIGEST-VALUE of all others, whose expiry times that includes.
    proc digest {host port} {
        set client [redis $host $port 0 $::tls]
        set all ""
        set failed [catch {
            for {set db 0} {$db < 16} {incr db} {
                $client select $db
                if {[$client dbsize] > 20000} { error "too many" }
                set keys [lsort [without_journal [$client keys *]]]
                for {set i 0} {$i < [llength $keys]} {incr i 1000} {
                    set some [lrange $keys $i $i+999]
                    append all "$db $some [$client debug digest-value {*}$some]\n"
                }
            }
        } error]
        $client close
        if {$failed} { error $error }
        if {$all eq ""} { return [string repeat 0 40] }
        return [format %040x [zlib crc32 [encoding convertto utf-8 $all]]]
    }

    # without_journal takes it out of a list of keys.
    proc without_journal {keys} {
        return [lsearch -all -inline -not -exact $keys sponsor:journal]
    }

    # answer gives what a test sees of a command's answer; send runs the command.
    proc answer {id method argv send} {
        if {$::redis::deferred($id) || !$::redis::blocking($id) || $::redis::readraw($id)} { return [{*}$send] }
        variable databases
        lassign $::redis::addr($id) host port
        set method [string tolower $method]
        if {$method eq "select"} {
            set reply [{*}$send]
            set databases($id) [lindex $argv 0]
            return $reply
        }
        if {$method eq "acl" && [string match tests/unit/acl* $::curfile]} {
            if {[string tolower [lindex $argv 0]] eq "setuser"} {
                set send [lreplace $send end end [concat $argv +sponsor.read +sponsor.write]]
            }
            return [string map {" +sponsor.read" "" " +sponsor.write" ""} [{*}$send]]
        }
        if {$method eq "debug" && [string tolower [lindex $argv 0]] eq "digest"} {
            if {[catch {digest $host $port} digest]} { return [{*}$send] }
            return $digest
        }
        if {[env SUITE_DATABASE_0] ne "yes" || ![in_database_0 $id]} { return [{*}$send] }
        switch $method {
            flushall - flushdb {
                set remote [before_flush $id]
                set reply [{*}$send]
                if {$remote ne "" && $reply ne "QUEUED"} { after_flush $remote }
                return $reply
            }
            dbsize {
                set reply [{*}$send]
                if {![string is integer -strict $reply]} { return $reply }
                if {[catch {ask $host $port exists sponsor:journal} journals]} { set journals 0 }
                return [expr {$reply - $journals}]
            }
            keys { return [without_journal [{*}$send]] }
            scan {
                set reply [{*}$send]
                if {[llength $reply] != 2} { return $reply }
                return [list [lindex $reply 0] [without_journal [lindex $reply 1]]]
            }
        }
        return [{*}$send]
    }
}

if {[suite::env SUITE_REMOTE_PORTS] ne ""} {
    rename ::redis::__dispatch__raw__ ::redis::suite_dispatch_raw
    proc ::redis::__dispatch__raw__ {id method argv} {
        # What we ask while we look at an answer is seen as it is.
        if {$suite::asking} { return [suite_dispatch_raw $id $method $argv] }
        set suite::asking 1
        set code [catch {suite::answer $id $method $argv [list ::redis::suite_dispatch_raw $id $method $argv]} reply options]
        set suite::asking 0
        return -options $options $reply
    }
}
