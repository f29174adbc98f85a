"""The catalogue of attacks: every id, and the tests for it beside those that carry its mark, or why there is none yet.

Ids with a letter are classes of vulnerabilities; ids with a section are rows of the RFC 6120 checklist.
"""

from __future__ import annotations

MUC = "not built yet: there are no rooms"
PUBSUB = "not built yet: there is no publish-subscribe"
SASL2 = "not built yet: there is no SASL2 and no FAST"

#: Ids whose tests carry ``pytest.mark.attack(id)``, in this folder.
MARKED = (
    *(f"X{number:02}" for number in range(1, 16) if number != 8),
    *(f"T{number:02}" for number in range(1, 10)),
    *(f"A{number:02}" for number in (1, 2, 3, 5, 6, 8, 9, 10, 11)),
    *("I01", "I02", "I03", "I04", "I05", "I06", "I09", "I10", "I11"),
    *(f"S{number:02}" for number in range(1, 11)),
    *("D01", "D02", "D04", "D05", "D06", "D07", "D10", "D11", "D12"),
)

#: Ids whose tests are named here, by file (below ``tests``) and function.
NAMED: dict[str, tuple[str, ...]] = {
    "X08": ("ctl/test_check.py::test_versions",),
    "A04": ("protocol/sasl/test_secrecy.py::test_noPlainComparison",),
    "A07": ("protocol/sasl/test_secrecy.py::test_noWeakRandom", "protocol/sasl/test_secrecy.py::test_nonces"),
    "D03": ("attack/test_overload.py::test_othersDoNotNotice",),
    "D08": ("attack/test_overload.py::test_sustainedSender", "edge/test_rates.py"),
    "D09": ("attack/test_overload.py::test_mappedAddressesAreOne", "edge/test_rates.py"),
    "V11": (
        "attack/test_components.py::test_wrongSecret", "attack/test_components.py::test_guessing",
        "attack/test_components.py::test_forgedSenders", "hub/test_component.py",
        "server/test_components.py::test_wrongConfigurations"),
    "3.1 bad-format": (
        "attack/test_streams.py::test_textBetweenStanzas",
        "attack/s2s/test_incoming.py::test_behindTheProof"),
    "3.1 bad-namespace-prefix": (
        "attack/test_xml.py::test_unboundPrefix",
        "attack/s2s/test_content.py::test_unboundPrefix"),
    "3.1 conflict": ("attack/test_streams.py::test_sameResourceTwice",),
    "3.1 connection-timeout": (
        "attack/test_time.py::test_silentSessionIsAskedAndEnded",
        "attack/s2s/test_time.py::test_silentServers"),
    "3.1 host-unknown": (
        "attack/test_streams.py::test_badHeaderOpensAndFails",
        "attack/s2s/test_incoming.py::test_badHeaderOpensAndFails",
        "attack/s2s/test_dialback.py::test_otherRecipients"),
    "3.1 improper-addressing": (
        "attack/test_streams.py::test_badHeaderOpensAndFails",
        "attack/s2s/test_incoming.py::test_behindTheProof",
        "attack/s2s/test_senders.py::test_noSender"),
    "3.1 internal-server-error": (
        "attack/test_streams.py::test_faultInNegotiationEndsOnlyThatStream",
        "attack/s2s/test_content.py::test_faultOfOurs"),
    "3.1 invalid-from": (
        "attack/test_stanzas.py::test_otherPeoplesFrom", "attack/test_streams.py::test_otherUserInTheHeader",
        "attack/s2s/test_senders.py::test_foreignSender"),
    "3.1 invalid-namespace": (
        "attack/test_streams.py::test_badHeaderOpensAndFails",
        "attack/s2s/test_incoming.py::test_badHeaderOpensAndFails"),
    "3.1 invalid-xml": (
        "attack/test_stanzas.py::test_badNumbers", "attack/test_streams.py::test_secondHeaderOnABoundStream",
        "attack/s2s/test_incoming.py::test_behindTheProof"),
    "3.1 not-authorized": (
        "attack/test_streams.py::test_stanzaBeforeAuthentication", "attack/test_streams.py::test_stanzaBeforeBinding",
        "attack/s2s/test_incoming.py::test_beforeAnythingIsProved"),
    "3.1 not-well-formed": (
        "attack/test_xml.py::test_notWellFormed",
        "attack/s2s/test_content.py::test_malformed"),
    "3.1 policy-violation": (
        "attack/test_xml.py::test_hugeStanza", "attack/test_sasl.py::test_fiveTriesAStream",
        "attack/s2s/test_incoming.py::test_fiveTries",
        "attack/s2s/test_content.py::test_hugeFromTheKnown",
        "attack/s2s/test_outgoing.py::test_strippedTLS"),
    "3.1 reset": ("attack/test_sasl.py::test_passwordChangeEndsOtherSessions",),
    "3.1 resource-constraint": (
        "attack/test_resources.py::test_neverAcknowledging",
        "attack/s2s/test_links.py::test_neverAcknowledging"),
    "3.1 restricted-xml": (
        "attack/test_xml.py::test_forbiddenInTheProlog", "attack/test_xml.py::test_forbiddenOnABoundStream",
        "attack/test_xml.py::test_unknownEntity",
        "attack/s2s/test_content.py::test_forbiddenFromTheKnown",
        "attack/s2s/test_links.py::test_badXML"),
    "3.1 system-shutdown": (
        "attack/test_time.py::test_shutdown",
        "attack/s2s/test_time.py::test_shutdown"),
    "3.1 undefined-condition": (
        "attack/test_resources.py::test_acknowledgingTooMuch",
        "attack/s2s/test_content.py::test_managementOutOfOrder",
        "attack/s2s/test_links.py::test_countsThatLie"),
    "3.1 unsupported-encoding": (
        "attack/test_streams.py::test_badHeaderOpensAndFails",
        "attack/s2s/test_incoming.py::test_badHeaderOpensAndFails",
        "attack/s2s/test_outgoing.py::test_badAnswer"),
    "3.1 unsupported-feature": ("attack/s2s/test_outgoing.py::test_noWayToAuthenticate",),
    "3.1 unsupported-stanza-type": (
        "attack/test_streams.py::test_unknownElement",
        "attack/s2s/test_incoming.py::test_behindTheProof",
        "attack/s2s/test_outgoing.py::test_outOfPlace"),
    "3.1 unsupported-version": (
        "attack/test_streams.py::test_badHeaderOpensAndFails",
        "attack/test_streams.py::test_higherVersionIsAnsweredWithOurs",
        "attack/s2s/test_incoming.py::test_badHeaderOpensAndFails"),
    "3.1 second header": ("attack/test_streams.py::test_secondHeaderIsAnError",),
    "3.1 end of the stream": (
        "attack/test_streams.py::test_closedStreamIsClosedInReturn",
        "attack/test_streams.py::test_halfClosedConnection",
        "attack/s2s/test_incoming.py::test_endIsAnswered"),
    "3.1 large header": ("attack/test_streams.py::test_badHeaderOpensAndFails",),
    "3.1 stream ids": ("attack/test_streams.py::test_idsAreNewAndLong",),
    "3.1 features": (
        "attack/test_streams.py::test_featuresComeInOrderAndOnce",
        "attack/s2s/test_incoming.py::test_featuresComeInOrder"),
    "3.1 old parser data": (
        "attack/test_tls.py::test_nothingMayFollowStartTLS",
        "attack/s2s/test_incoming.py::test_nothingMayFollowStartTLS",
        "attack/s2s/test_outgoing.py::test_nothingMayFollowProceed"),
    "3.2 aborted": (
        "attack/test_sasl.py::test_abortInTheMiddle",
        "attack/s2s/test_incoming.py::test_challenge"),
    "3.2 account-disabled": ("attack/test_sasl.py::test_adminEndsSessions",),
    "3.2 encryption-required": (
        "attack/test_tls.py::test_nothingGoesAroundTLS",
        "attack/s2s/test_incoming.py::test_nothingGoesAroundTLS"),
    "3.2 incorrect-encoding": (
        "attack/test_sasl.py::test_badBeginning",
        "attack/s2s/test_incoming.py::test_badExternal"),
    "3.2 invalid-authzid": (
        "attack/test_sasl.py::test_nobodyActsForAnother",
        "attack/s2s/test_incoming.py::test_badExternal"),
    "3.2 invalid-mechanism": (
        "attack/test_sasl.py::test_whatIsNotOfferedIsNotAccepted",
        "attack/s2s/test_incoming.py::test_externalIsForThoseWhoCanUseIt"),
    "3.2 malformed-request": (
        "attack/test_sasl.py::test_badBeginning", "attack/test_sasl.py::test_badEnd",
        "attack/s2s/test_incoming.py::test_badExternal"),
    "3.2 not-authorized": ("attack/test_sasl.py::test_badEnd",),
    "3.2 temporary-auth-failure": ("attack/test_sasl.py::test_manyTriesOfOneAddress",),
    "3.2 retries": (
        "attack/test_sasl.py::test_fiveTriesAStream",
        "attack/s2s/test_incoming.py::test_fiveTries"),
    "3.2 second binding": ("attack/test_stanzas.py::test_secondBinding",),
    "3.2 bad resource": ("attack/test_stanzas.py::test_badBindings",),
    "3.2 too many resources": ("attack/test_resources.py::test_eleventhResource",),
    "3.2 stanza before binding": ("attack/test_streams.py::test_stanzaBeforeBinding",),
    "3.3 bad-request": (
        "attack/test_stanzas.py::test_badRequest",
        "attack/s2s/test_content.py::test_badRequests"),
    "3.3 conflict": ("attack/test_stanzas.py::test_registrationErrors",),
    "3.3 internal-server-error": ("attack/test_stanzas.py::test_faultOfOurs",),
    "3.3 jid-malformed": ("attack/test_stanzas.py::test_malformedAddress",),
    "3.3 not-acceptable": (
        "attack/test_stanzas.py::test_registrationErrors", "attack/test_stanzas.py::test_blockedUsersReachNobody"),
    "3.3 not-allowed": ("attack/test_stanzas.py::test_secondBinding",),
    "3.3 remote-server-not-found": (
        "attack/test_stanzas.py::test_noOtherServers",
        "attack/s2s/test_names.py::test_names"),
    "3.3 remote-server-timeout": (
        "attack/s2s/test_outgoing.py::test_dyingServers", "attack/s2s/test_names.py::test_names"),
    "3.3 resource-constraint": ("attack/test_resources.py::test_eleventhResource",),
    "3.3 service-unavailable": ("attack/test_stanzas.py::test_serviceUnavailable",),
    "3.3 unexpected-request": (
        "attack/test_resources.py::test_enableTwice",
        "attack/s2s/test_content.py::test_managementOutOfOrder"),
    "3.3 no answer to an answer": (
        "attack/test_stanzas.py::test_answersToNobody",
        "attack/s2s/test_content.py::test_answersToNobody"),
    "3.3 one answer to a request": ("attack/test_stanzas.py::test_everyRequestIsAnsweredOnce",),
    "3.3 errors are mirrors": ("attack/test_stanzas.py::test_errorsAreMirrors",),
    "3.3 what is not stored": ("attack/test_stanzas.py::test_messagesThatAreNotStored",),
    "3.4 what is forbidden": ("attack/test_xml.py::test_forbiddenOnABoundStream",),
    "3.4 what is kept": (
        "attack/test_xml.py::test_meaningIsKept",
        "attack/s2s/test_content.py::test_meaningIsKept",
        "attack/s2s/test_links.py::test_smuggling"),
    "3.4 prologs": ("attack/test_streams.py::test_prologOfEveryKindIsAccepted",),
    "3.4 languages": ("attack/test_xml.py::test_languageIsStamped",),
    "3.4 characters": ("attack/test_bytes.py::test_everySequenceIsJudged",),
    "3.4 stable output": ("wire/test_roundtrip.py",),
    "3.5 TLS before SASL": ("attack/test_tls.py::test_nothingGoesAroundTLS",),
    "3.5 mandatory mechanisms": ("attack/test_tls.py::test_strongTLSIsAccepted",),
    "3.5 certificates of servers": (
        "attack/s2s/test_outgoing.py::test_badCertificate", "edge/s2s/test_trust.py", "edge/s2s/test_identity.py"),
    "3.5 dialback": (
        "attack/s2s/test_dialback.py::test_dialbackNeedsTheCertificate",
        "attack/s2s/test_incoming.py::test_nothingGoesAroundTLS"),
    "3.5 senders": ("attack/test_stanzas.py::test_ownFromIsStamped",),
    "3.5 addresses": ("attack/test_stanzas.py::test_oneFormEverywhere",),
    "3.5 presence leaks": ("attack/test_stanzas.py::test_strangersLearnNothing",),
    "3.5 harvesting": ("attack/test_sasl.py::test_unknownUsersLookLikeOthers",),
    "3.5 denial of service": (
        "attack/test_xml.py::test_limitsAreReachable", "attack/test_time.py::test_tooManyOfOneAddress"),
}  # fmt: skip

#: Ids without a test, and why.
MISSING: dict[str, str] = {
    "I07": "not built yet: registration does not look for names that are mistaken for others",
    "I08": "not built yet: no capabilities of others are remembered for third parties",
    "3.1 host-gone": "not built yet: a host that was removed is unknown, which the RFC allows",
    "3.1 remote-connection-failed": "not built yet: no back end is remote",
    "3.1 see-other-host": "not sent: there is one node; from other servers it is not followed (S10)",
    "3.2 credentials-expired": "not built yet: passwords do not expire",
    "3.2 mechanism-too-weak": "not built yet: no account is held to a mechanism",
    "3.3 feature-not-implemented": f"{PUBSUB}; the modules that exist have no optional action",
    "3.3 forbidden": MUC,
    "3.3 gone": "not built yet: accounts do not move",
    "3.3 item-not-found": PUBSUB,
    "3.3 not-authorized": MUC,
    "3.3 policy-violation": "not built yet: no service has a limit of its own",
    "3.3 recipient-unavailable": "not sent: service-unavailable tells strangers less",
    "3.3 redirect": "not built yet: nothing moves",
    "3.3 registration-required": MUC,
    "3.3 subscription-required": PUBSUB,
    "3.3 undefined-condition": "not sent: no application needs it yet",
}

CONDITIONS = """bad-format bad-namespace-prefix conflict connection-timeout host-gone host-unknown improper-addressing
internal-server-error invalid-from invalid-namespace invalid-xml not-authorized not-well-formed policy-violation
remote-connection-failed reset resource-constraint restricted-xml see-other-host system-shutdown undefined-condition
unsupported-encoding unsupported-feature unsupported-stanza-type unsupported-version""".split()
FAILURES = """aborted account-disabled credentials-expired encryption-required incorrect-encoding invalid-authzid
invalid-mechanism malformed-request mechanism-too-weak not-authorized temporary-auth-failure""".split()
ERRORS = """bad-request conflict feature-not-implemented forbidden gone internal-server-error item-not-found
jid-malformed not-acceptable not-allowed not-authorized policy-violation recipient-unavailable redirect
registration-required
remote-server-not-found remote-server-timeout resource-constraint service-unavailable subscription-required
undefined-condition unexpected-request""".split()

#: Every id that there has to be an answer for.
IDS = (
    *(f"X{number:02}" for number in range(1, 16)),
    *(f"T{number:02}" for number in range(1, 10)),
    *(f"A{number:02}" for number in range(1, 12)),
    *(f"I{number:02}" for number in range(1, 12)),
    *(f"S{number:02}" for number in range(1, 11)),
    "V11",
    *(f"D{number:02}" for number in range(1, 13)),
    *(f"3.1 {name}" for name in CONDITIONS),
    *(f"3.2 {name}" for name in FAILURES),
    *(f"3.3 {name}" for name in ERRORS),
)
