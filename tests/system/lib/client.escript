#!/usr/bin/env escript
%% The client that must always work: Erlang/OTP's own DTLS with a pre-shared key.
%% client.escript PORT VERSION CIPHER KEYHEX TEXT: sends TEXT, prints what comes back, closes.

cipher("aes_128_cbc_sha") -> {psk, aes_128_cbc, sha};
cipher(Name) -> ssl:str_to_suite(Name).

main([Port, Version, Cipher, Key, Text]) ->
    {ok, _} = application:ensure_all_started(ssl),
    Secret = binary:decode_hex(list_to_binary(Key)),
    Options = [binary, {active, false}, {protocol, dtls},
               {versions, [list_to_atom(Version)]}, {ciphers, [cipher(Cipher)]},
               {psk_identity, "Client_identity"},
               {user_lookup_fun, {fun(psk, _, S) -> {ok, S} end, Secret}},
               {verify, verify_none}],
    {ok, Socket} = ssl:connect({127, 0, 0, 1}, list_to_integer(Port), Options, 8000),
    {ok, Info} = ssl:connection_information(Socket, [protocol, selected_cipher_suite]),
    io:format("connected ~w~n", [Info]),
    ok = ssl:send(Socket, Text),
    {ok, Answer} = ssl:recv(Socket, 0, 8000),
    io:format("answer ~s~n", [Answer]),
    ok = ssl:close(Socket),
    io:format("closed~n").
