%% Creates the users and mutual contacts listed in the file that PEER_PLAN names, then touches the file PEER_READY.
%% All users get the first one's record, so they share its salt and a client derives its keys once.
-module(fill).
-export([start/0]).

start() -> spawn(fun() -> wait(600) end).

wait(0) -> erlang:halt(1);
wait(Tries) ->
    case lists:keymember(ejabberd, 1, application:which_applications()) of
        true -> run(os:getenv("PEER_PLAN"));
        false -> timer:sleep(100), wait(Tries - 1)
    end.

run(Plan) when Plan =:= false; Plan =:= "" -> ready();
run(Plan) ->
    {ok, [{password, Host, Password} | Users]} = file:consult(Plan),
    {user, First, _} = hd(Users),
    ok = ejabberd_auth:try_register(First, Host, Password),
    [Account] = mnesia:dirty_read(passwd, {First, Host}),
    [add(Account, Host, Name, Contacts) || {user, Name, Contacts} <- Users],
    mnesia:sync_log(),
    ready().

add(Account, Host, Name, Contacts) ->
    mnesia:dirty_write(passwd, setelement(2, Account, {Name, Host})),
    [contact({Name, Host}, {Contact, Host, <<>>}) || Contact <- Contacts].

%% The record `roster` of mod_roster.hrl.
contact({Name, Host}, Jid) ->
    mnesia:dirty_write(roster, {roster, {Name, Host, Jid}, {Name, Host}, Jid, <<>>, both, none, [], <<>>, []}).

ready() -> file:write_file(os:getenv("PEER_READY"), <<"ready\n">>).
