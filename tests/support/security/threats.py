"""Every threat there is a control for, with the tests that show it; docs/security.md is made from this table."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tests.support.security.threat import Threat

_SECURITY: Final = "tests/security"
_UNIT: Final = "tests/unit"
_ARCHITECTURE: Final = "tests/architecture"
_WHOLE: Final = "tests/integration"

_SECRETS: Final[Mapping[str, Threat]] = {
    "A secret shows up in a log, an error, a metric, a page or a process list": Threat(
        control="a type that masks itself, lines redacted by known values and known forms, errors told by their class",
        holds="no 12 characters of a canary in a row, in any encoding, after every kind of failure; nor in any test",
        tests=(
            f"{_SECURITY}/test_canaries.py::test_no_secret_is_told_anywhere_whatever_went_wrong",
            f"{_SECURITY}/test_canaries.py::test_a_secret_would_be_found_in_any_spelling",
            f"{_ARCHITECTURE}/test_canaries.py::test_each_way_of_telling_a_secret_fails_its_test_and_no_other",
            f"{_UNIT}/test_secrets.py::test_no_way_of_printing_a_secret_shows_it",
            f"{_UNIT}/telemetry/test_redaction.py::test_what_looks_like_a_secret_is_masked_unknown_as_it_is",
        ),
    ),
    "Secrets are read from the files of the server": Threat(
        control="files of ours are 0600, folders 0700; others' files, links and pipes in their place stop the start",
        holds="every mode right under the masks 000 and 277, after start, write and restart",
        tests=(
            f"{_SECURITY}/test_files.py::test_what_the_server_writes_only_its_own_user_can_open",
            f"{_SECURITY}/test_files.py::test_a_key_file_that_may_not_be_ours_alone_is_refused",
            f"{_SECURITY}/test_files.py::test_a_database_that_may_not_be_ours_alone_is_refused",
            f"{_UNIT}/store/test_files.py::test_what_we_make_is_private_whatever_the_umask",
        ),
    ),
    "Keys are read from the database, or a signature made for one purpose passes for another": Threat(
        control="of client keys only digests are kept, of upstream keys nothing; one derived key for each purpose",
        holds="no key in database, journal or copies; no seal is a login and no login a seal",
        tests=(
            f"{_SECURITY}/test_guessing.py::test_a_made_key_is_in_its_answer_and_nowhere_else",
            f"{_SECURITY}/test_guessing.py::test_what_is_kept_of_a_key_is_its_digest_alone",
            f"{_SECURITY}/test_key_separation.py::test_a_seal_is_no_login_and_a_login_is_no_seal",
            f"{_SECURITY}/test_key_separation.py::test_another_secret_key_or_admin_key_ends_every_login",
        ),
    ),
    "What people ask is read in the log": Threat(
        control="no line, trace, metric or page takes a word of a prompt or an answer, and no setting changes that",
        holds="markers of prompts and answers nowhere but upstream and with their client",
        tests=(f"{_SECURITY}/test_log_lines.py::test_nothing_that_was_said_is_told_but_to_its_client",),
    ),
}
_ACCESS: Final[Mapping[str, Threat]] = {
    "A route is open that should not be": Threat(
        control="access stands in the table of routes; what is not in it does not exist",
        holds="every route with every method and every wrong key is closed; a route past the table is unknown",
        tests=(
            f"{_SECURITY}/test_routes.py::test_a_route_without_its_key_is_closed_to_every_method",
            f"{_SECURITY}/test_routes.py::test_a_client_key_does_not_administrate",
            f"{_SECURITY}/test_routes.py::test_a_key_in_the_address_opens_nothing",
            f"{_SECURITY}/test_routes.py::test_a_handler_added_past_the_table_is_treated_as_an_unknown_address",
        ),
    ),
    "Another spelling of an address, or a header of a proxy, opens what its route would not": Threat(
        control="access goes by the matched route; odd hosts are refused; forwarded headers count from trusted proxies",
        holds="no spelling, host or header opens anything",
        tests=(
            f"{_SECURITY}/test_hosts.py::test_a_host_that_is_no_host_name_is_refused_whatever_the_key",
            f"{_SECURITY}/test_hosts.py::test_headers_of_proxies_give_no_access",
            f"{_SECURITY}/test_hosts.py::test_headers_of_proxies_do_not_make_a_client_the_administrator",
            f"{_SECURITY}/test_targets.py::test_another_spelling_of_an_address_opens_nothing_its_canonical_path_would_not",
        ),
    ),
    "An unsafe configuration serves": Threat(
        control="empty, short and example secrets, open files and unsafe addresses stop the start",
        holds="each stops with exit code 1 and the setting's name, without the secret",
        tests=(
            f"{_SECURITY}/test_configuration.py::test_a_bad_configuration_stops_the_start_and_names_the_setting",
            f"{_SECURITY}/test_configuration.py::test_a_bad_file_of_credentials_stops_the_start",
        ),
    ),
    "A key is found out by how long its comparison takes, or taken for one that begins alike": Threat(
        control="digests of whole keys are compared in constant time, with every key there is",
        holds="Welch's t of 20,000 samples below 4.5; keys with 54 characters in common never cross",
        tests=(
            f"{_SECURITY}/test_key_timing.py::test_a_key_wrong_at_its_end_takes_as_long_as_one_wrong_at_its_beginning",
            f"{_SECURITY}/test_key_timing.py::test_keys_that_share_their_beginning_never_cross",
            f"{_SECURITY}/test_key_comparison.py::test_no_key_is_compared_with_a_plain_operator",
            f"{_SECURITY}/test_key_comparison.py::test_every_key_is_looked_at_whichever_matches",
        ),
    ),
    "A key is guessed": Threat(
        control="ten wrong keys a minute and address, then a wait that doubles; at the dashboard's login too",
        holds="the eleventh is not looked at; a right key always works; forwarded addresses do not help",
        tests=(
            f"{_SECURITY}/test_guessing.py::test_guesses_are_throttled_and_the_right_key_never_is",
            f"{_UNIT}/access/test_guessing.py::test_many_addresses_take_a_bounded_room_and_the_oldest_goes",
            f"{_UNIT}/server/dashboard/test_pages.py::test_guessing_at_the_login_is_throttled_and_the_right_key_never_is",
        ),
    ),
    "A client gives itself more than it has": Threat(
        control="administration has a key of its own; its orders take the fields they know and no other",
        holds="every further field is refused and changes nothing",
        tests=(
            f"{_SECURITY}/test_guessing.py::test_a_field_nobody_offers_changes_nothing",
            f"{_UNIT}/server/test_clients.py::test_a_client_key_orders_nothing",
        ),
    ),
    "One client reads or moves what another made": Threat(
        control="everything that has an id has an owner, and is looked for among the caller's own",
        holds="404 on every route that takes an id, word for word that of an id that never was; 10,000 answers unmixed",
        tests=(
            f"{_SECURITY}/test_tenants.py::test_an_object_of_another_client_is_not_there",
            f"{_SECURITY}/test_tenants.py::test_a_list_holds_what_its_own_client_has_made",
            f"{_WHOLE}/test_response_cache.py::test_no_answer_of_one_key_ever_reaches_another",
            f"{_WHOLE}/test_objects.py::test_a_chat_names_no_file_of_another_client",
            f"{_WHOLE}/test_claude_web.py::test_sessions_never_mix",
        ),
    ),
}
_WIRE: Final[Mapping[str, Threat]] = {
    "A request is smuggled inside another": Threat(
        control="the strict parser alone, asserted at the start; what is ambiguous closes the connection",
        holds="no hidden request is served",
        tests=(
            f"{_SECURITY}/test_framing.py::test_an_ambiguous_request_is_refused_and_what_it_hides_is_never_served",
            f"{_SECURITY}/test_configuration.py::test_the_pure_python_parser_is_refused",
        ),
    ),
    "A client's word becomes a header": Threat(
        control="values of clients get into headers only where they are plain",
        holds="no line more, upstream or back; a clean 400",
        tests=(
            f"{_SECURITY}/test_header_values.py::test_a_header_that_tries_to_become_two_never_does_so_upstream_or_in_the_answer",
            f"{_SECURITY}/test_header_values.py::test_a_forwarded_header_that_is_not_plain_is_refused_by_name",
            f"{_SECURITY}/test_header_values.py::test_a_model_name_gets_into_no_header",
        ),
    ),
    "A client's word becomes a line of the log, or a statement": Threat(
        control="unprintable characters are escaped, quotes too; statements take values as parameters",
        holds="one line, no field of the client's making",
        tests=(
            f"{_SECURITY}/test_log_lines.py::test_no_name_a_client_chooses_becomes_a_line_or_a_field_of_the_log",
            f"{_UNIT}/telemetry/test_logs.py::test_a_value_never_makes_a_second_line_or_moves_the_cursor",
        ),
    ),
    "Bytes that no parser expects end a request, a stream or the loop": Threat(
        control="one door for JSON, one for events; both raise what is told as a 400 or a broken answer",
        holds="the kept findings of fuzzing and 400 variations of them a target, thousands of wrong requests: no 500",
        tests=(
            f"{_SECURITY}/test_fuzz.py::test_nothing_of_the_corpus_and_nothing_near_it_breaks_a_parser",
            f"{_SECURITY}/test_bad_requests.py::test_every_wrong_request_is_refused_by_name_and_none_is_a_failure_of_ours",
            f"{_SECURITY}/test_hostile_json.py::test_a_body_that_is_no_json_object_is_refused_in_the_dialects_envelope",
        ),
    ),
    "Memory, places or time are used up": Threat(
        control="bodies, headers, answers, events, pages, images, waits, queues, histories and connections are bounded",
        holds="each bound allows what it says and refuses one more as it is written down",
        tests=(
            f"{_SECURITY}/test_connections.py::test_pipelined_questions_reach_the_upstream_once_each_and_in_order",
            f"{_SECURITY}/test_connections.py::test_headers_are_bounded_in_size_and_number",
            f"{_SECURITY}/test_slow_clients.py::test_a_dripping_body_is_refused_at_every_endpoint",
            f"{_SECURITY}/test_slow_clients.py::test_a_head_that_does_not_come_is_not_waited_for",
            f"{_SECURITY}/test_busy_loop.py::test_no_body_keeps_the_loop_busy",
            f"{_SECURITY}/test_caps.py::test_a_bound_allows_what_it_says_and_not_one_more",
            f"{_SECURITY}/test_caps.py::test_an_event_may_be_as_large_as_it_is_said",
            f"{_SECURITY}/test_caps.py::test_as_many_wait_as_there_are_places_in_the_queue",
            f"{_SECURITY}/test_caps.py::test_as_many_connections_are_taken_as_there_may_be",
            f"{_UNIT}/server/test_doors.py::test_one_address_has_its_own_bound_and_others_do_not_feel_it",
            f"{_SECURITY}/test_large_bodies.py::test_a_compressed_bomb_is_refused_at_the_limit_of_what_it_unfolds_to",
        ),
    ),
    "The metrics tell strangers of the pool, or grow with what clients write": Threat(
        control="the admin key; labels from closed lists",
        holds="no series more after any number of invented names",
        tests=(
            f"{_SECURITY}/test_metric_labels.py::test_names_by_chance_add_no_series",
            f"{_SECURITY}/test_metric_labels.py::test_metrics_are_closed_to_everybody_else",
        ),
    ),
}
_REACH: Final[Mapping[str, Threat]] = {
    "A client chooses where a call goes, or which key it carries": Threat(
        control="address and key belong together, and come from the configuration; no redirect is followed",
        holds="an address in every field, header and query: no visit, no key but to the simulated Claude",
        tests=(
            f"{_SECURITY}/test_steering.py::test_an_address_in_any_text_field_of_a_body_is_never_visited",
            f"{_SECURITY}/test_steering.py::test_a_field_that_other_gateways_obey_is_not_obeyed",
            f"{_SECURITY}/test_steering.py::test_an_upstream_redirect_takes_no_key_along",
        ),
    ),
    "The URL of an image leads into this network": Threat(
        control="off by default; the address is looked at as its socket is made, at every hop",
        holds="over 100 spellings, 500 changing names, every redirect: no connection",
        tests=(
            f"{_SECURITY}/test_image_fetch.py::test_no_spelling_of_an_address_leads_to_this_machine",
            f"{_SECURITY}/test_image_fetch.py::test_every_address_of_a_name_is_looked_at_in_the_moment_of_connecting",
            f"{_SECURITY}/test_image_fetch.py::test_no_redirect_leads_to_this_machine",
        ),
    ),
    "A path leads out of the directories that are open": Threat(
        control="off by default; opened part by part through no link, regular files of known content alone",
        holds="no path, link, race or device is read",
        tests=(
            f"{_SECURITY}/test_local_paths.py::test_no_path_leads_out_of_the_directory",
            f"{_SECURITY}/test_local_paths.py::test_no_link_is_followed",
            f"{_SECURITY}/test_local_paths.py::test_nothing_can_be_exchanged_between_a_look_and_a_use",
        ),
    ),
    "An uploaded file does harm where it is downloaded, or is taken by another": Threat(
        control="streamed to its owner's credential, kept nowhere here; downloads are attachments, never pages",
        holds="headers of every download; strangers read 404; an upload that breaks off leaves nothing",
        tests=(
            f"{_WHOLE}/test_objects.py::test_downloads_come_as_something_to_be_saved",
            f"{_WHOLE}/test_objects.py::test_nobody_sees_what_belongs_to_another_client",
            f"{_WHOLE}/test_uploads.py::test_a_client_that_leaves_in_the_middle_stops_the_upload",
        ),
    ),
    "A request becomes an option or a command of Claude Code": Threat(
        control="a fixed command line; every word that may differ has its pattern; an environment from an allow-list",
        holds="hostile values are refused; no tool, no setting and no permission is given; no key in the environment",
        tests=(
            f"{_SECURITY}/test_claude_options.py::test_a_hundred_hostile_requests_stay_in_their_template",
            f"{_SECURITY}/test_claude_options.py::test_starts_broken_off_anywhere_leave_no_process",
            f"{_UNIT}/upstreams/claude_code/test_arguments.py::test_a_model_that_fits_is_one_word_and_no_option",
            f"{_UNIT}/upstreams/claude_code/test_arguments.py::test_only_an_id_of_ours_is_resumed",
            f"{_UNIT}/upstreams/claude_code/test_arguments.py::test_no_tool_no_settings_and_no_permission_is_ever_given",
            f"{_UNIT}/upstreams/claude_code/test_environment.py::test_a_child_behind_the_listener_knows_an_address_and_no_key",
        ),
    ),
    "A caller's own session, brought to the mirror, is kept or told": Threat(
        control="it lives as long as its request, in memory alone, and passes through no log, page or book",
        holds="no canary of it anywhere after an hour of every failure",
        tests=(f"{_SECURITY}/test_mirror.py::test_a_callers_cookie_is_told_nowhere",),
    ),
    "A refused claude.ai session is followed by the next": Threat(
        control="a stop of the site's ends the request for all sessions, on every way out",
        holds="no second session is asked",
        tests=(
            f"{_WHOLE}/test_claude_web.py::test_no_session_takes_the_place_of_one_that_was_told_to_stop",
            f"{_WHOLE}/test_claude_web.py::test_a_session_bound_to_its_owner_serves_nobody_else",
        ),
    ),
}
_PAGES: Final[Mapping[str, Threat]] = {
    "Another site uses an administrator's login": Threat(
        control="a cookie no other site sends, a token and an origin for every order, no frames, no wildcard origins",
        holds="orders without proof of where they come from are refused; no answer lets cookies ride along",
        tests=(
            f"{_UNIT}/server/dashboard/test_cookie.py::test_an_order_that_does_not_prove_where_it_comes_from_is_refused",
            f"{_UNIT}/server/dashboard/test_cookie.py::test_the_cookie_is_out_of_reach_of_scripts_and_other_sites",
            f"{_SECURITY}/test_guessing.py::test_a_page_may_ask_first_and_still_needs_a_key",
        ),
    ),
    "A client's word runs in an administrator's browser, or in a spreadsheet": Threat(
        control="the page makes elements, never markup; its policy allows its own files alone; cells are no formulas",
        holds="60 payloads in a real browser: nothing runs, nothing is even refused",
        tests=(
            "tests/e2e/test_dashboard_browser.py::test_no_markup_of_a_client_does_anything",
            f"{_UNIT}/server/dashboard/test_files.py::test_a_script_makes_no_markup_out_of_text",
            f"{_UNIT}/server/test_usage.py::test_no_cell_is_a_formula",
        ),
    ),
}
_BUILDING: Final[Mapping[str, Threat]] = {
    "A package is exchanged on its way here, or runs by being there": Threat(
        control="pinned versions, installed by their hashes alone",
        holds="every file of every package as its wheel recorded it; no file that runs by itself",
        tests=(
            f"{_SECURITY}/test_supply_chain.py::test_a_package_is_the_one_that_was_pinned_and_has_its_own_bytes",
            f"{_SECURITY}/test_supply_chain.py::test_no_file_of_the_installation_runs_by_being_there",
            f"{_SECURITY}/test_supply_chain.py::test_nothing_is_installed_but_by_its_hash",
            f"{_ARCHITECTURE}/test_requirements.py::test_a_file_holds_nothing_of_the_machine_it_was_compiled_on",
        ),
    ),
    "Whoever gets out of the program has the machine": Threat(
        control="the image runs as user 1000, starts no shell and holds no secret",
        holds="its instructions, and a linter of them",
        tests=(
            f"{_SECURITY}/test_container.py::test_the_process_in_the_image_is_not_root",
            f"{_SECURITY}/test_container.py::test_the_image_is_made_of_no_secret",
            f"{_SECURITY}/test_container.py::test_what_is_private_is_no_part_of_what_an_image_is_made_of",
        ),
    ),
    "A later change opens one of these holes again": Threat(
        control="rules of our own over the source, bandit, and ruff's rules for security, with every check",
        holds="each rule finds its bad examples and leaves the good ones",
        tests=(f"{_SECURITY}/test_semgrep.py::test_a_rule_finds_what_it_is_there_for_and_nothing_else",),
    ),
}

THREATS: Final[Mapping[str, Mapping[str, Threat]]] = MappingProxyType(
    {
        "Secrets": _SECRETS,
        "Who may do what": _ACCESS,
        "What comes over the wire": _WIRE,
        "What can be reached through the gateway": _REACH,
        "Pages": _PAGES,
        "How it is built": _BUILDING,
    }
)
