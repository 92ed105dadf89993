"""The words of ASHRAE 135 for object types and properties (clauses 12 and 21)."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OBJECT_TYPES = _words(
    """
    access-credential access-door access-point access-rights access-user access-zone accumulator
    alert-enrollment analog-input analog-output analog-value audit-log audit-reporter averaging binary-input
    binary-lighting-output binary-output binary-value bitstring-value calendar channel characterstring-value
    command credential-data-input date-pattern-value date-value datetime-pattern-value datetime-value device
    elevator-group escalator event-enrollment event-log file global-group group integer-value large-analog-value
    life-safety-point life-safety-zone lift lighting-output load-control loop multi-state-input
    multi-state-output multi-state-value network-port network-security notification-class notification-forwarder
    octetstring-value positive-integer-value program pulse-converter schedule staging structured-view
    time-pattern-value time-value timer trend-log trend-log-multiple
    """
)
"""Object types in the standard's hyphenated words."""

PROPERTIES = _words(
    """
    absentee-limit accepted-modes access-alarm-events access-doors access-event
    access-event-authentication-factor access-event-credential access-event-tag access-event-time
    access-transaction-events accompaniment accompaniment-time ack-required acked-transitions action action-text
    activation-time active-authentication-policy active-cov-multiple-subscriptions active-cov-subscriptions
    active-text active-vt-sessions actual-shed-level adjust-value alarm-value alarm-values align-intervals all
    all-writes-successful allow-group-delay-inhibit apdu-length apdu-segment-timeout apdu-timeout
    application-software-version archive assigned-access-rights assigned-landing-calls attempted-samples
    audit-level audit-notification-recipient audit-priority-filter audit-source-reporter auditable-operations
    authentication-factors authentication-policy-list authentication-policy-names authentication-status
    authorization-exemptions authorization-mode auto-slave-discovery average-value backup-and-restore-state
    backup-failure-timeout backup-preparation-time bacnet-ip-global-address bacnet-ip-mode
    bacnet-ip-multicast-address bacnet-ip-nat-traversal bacnet-ip-udp-port bacnet-ipv6-mode
    bacnet-ipv6-multicast-address bacnet-ipv6-udp-port base-device-security-policy bbmd-accept-fd-registrations
    bbmd-broadcast-distribution-table bbmd-foreign-device-table belongs-to bias bit-mask bit-text
    blink-warn-enable buffer-size car-assigned-direction car-door-command car-door-status car-door-text
    car-door-zone car-drive-status car-load car-load-units car-mode car-moving-direction car-position
    change-of-state-count change-of-state-time changes-pending channel-number client-cov-increment command
    command-time-array configuration-files control-groups controlled-variable-reference
    controlled-variable-units controlled-variable-value count count-before-change count-change-time
    cov-increment cov-period cov-resubscription-interval covu-period covu-recipients credential-disable
    credential-status credentials credentials-in-zone current-command-priority database-revision date-list
    daylight-savings-status days-remaining deadband default-fade-time default-present-value default-ramp-rate
    default-step-increment default-subordinate-relationship default-timeout delete-on-forward
    deployed-profile-location derivative-constant derivative-constant-units description description-of-halt
    device-address-binding device-type device-uuid direct-reading distribution-key-revision do-not-hide
    door-alarm-state door-extended-pulse-time door-members door-open-too-long-time door-pulse-time door-status
    door-unlock-delay-time duty-window effective-period egress-active egress-time elapsed-active-time
    elevator-group enable energy-meter energy-meter-ref entry-points error-limit escalator-mode
    event-algorithm-inhibit event-algorithm-inhibit-ref event-detection-enable event-enable event-message-texts
    event-message-texts-config event-parameters event-state event-time-stamps event-type exception-schedule
    execution-delay exit-points expected-shed-level expiration-time extended-time-enable failed-attempt-events
    failed-attempts failed-attempts-time fault-high-limit fault-low-limit fault-parameters fault-signals
    fault-type fault-values fd-bbmd-address fd-subscription-lifetime feedback-value file-access-method file-size
    file-type firmware-revision floor-number floor-text full-duty-baseline global-identifier group-id
    group-member-names group-members group-mode high-limit higher-deck in-process in-progress inactive-text
    initial-timeout input-reference installation-id instance-of instantaneous-power integral-constant
    integral-constant-units interface-value interval-offset ip-address ip-default-gateway ip-dhcp-enable
    ip-dhcp-lease-time ip-dhcp-lease-time-remaining ip-dhcp-server ip-dns-server ip-subnet-mask ipv6-address
    ipv6-auto-addressing-enable ipv6-default-gateway ipv6-dhcp-lease-time ipv6-dhcp-lease-time-remaining
    ipv6-dhcp-server ipv6-dns-server ipv6-prefix-length ipv6-zone-index is-utc issue-confirmed-notifications
    key-sets landing-call-control landing-calls landing-door-status last-access-event last-access-point
    last-command-time last-credential-added last-credential-added-time last-credential-removed
    last-credential-removed-time last-key-server last-notify-record last-priority last-restart-reason
    last-restore-time last-state-change last-use-time life-safety-alarm-values lighting-command
    lighting-command-default-priority limit-enable limit-monitoring-interval link-speed link-speed-autonegotiate
    link-speeds list-of-group-members list-of-object-property-references list-of-session-keys local-date
    local-forwarding-only local-time location lock-status lockout lockout-relinquish-time log-buffer
    log-device-object-property log-interval logging-object logging-record logging-type low-diff-limit low-limit
    lower-deck mac-address machine-room-id maintenance-required making-car-call manipulated-variable-reference
    manual-slave-address-binding masked-alarm-values master-exemption max-actual-value max-apdu-length-accepted
    max-failed-attempts max-info-frames max-master max-pres-value max-segments-accepted maximum-output
    maximum-send-delay maximum-value maximum-value-timestamp member-of member-status-flags members
    min-actual-value min-pres-value minimum-off-time minimum-on-time minimum-output minimum-value
    minimum-value-timestamp mode model-name modification-date monitored-objects muster-point
    negative-access-rules network-access-security-policies network-interface-name network-number
    network-number-quality network-type next-stopping-floor node-subtype node-type notification-class
    notification-threshold notify-type number-of-apdu-retries number-of-authentication-policies number-of-states
    object-identifier object-list object-name object-property-reference object-type occupancy-count
    occupancy-count-adjust occupancy-count-enable occupancy-exemption occupancy-lower-limit
    occupancy-lower-limit-enforced occupancy-state occupancy-upper-limit occupancy-upper-limit-enforced
    operation-direction operation-expected optional out-of-service output-units packet-reorder-time
    passback-exemption passback-mode passback-timeout passenger-alarm polarity port-filter positive-access-rules
    power power-mode prescale present-stage present-value priority priority-array priority-for-writing
    process-identifier process-identifier-filter profile-location profile-name program-change program-location
    program-state property-list proportional-constant proportional-constant-units protocol-level
    protocol-object-types-supported protocol-revision protocol-services-supported protocol-version pulse-rate
    read-only reason-for-disable reason-for-halt recipient-list record-count records-since-notification
    reference-port registered-car-call reliability reliability-evaluation-inhibit relinquish-default represents
    requested-shed-level requested-update-interval required resolution restart-notification-recipients
    restore-completion-time restore-preparation-time routing-table scale scale-factor schedule-default
    secured-status security-pdu-timeout security-time-window segmentation-supported send-now serial-number
    setpoint setpoint-reference setting shed-duration shed-level-descriptions shed-levels silenced
    slave-address-binding slave-proxy-enable stage-names stages start-time state-change-values state-description
    state-text status-flags stop-time stop-when-full strike-count structured-object-list subordinate-annotations
    subordinate-list subordinate-node-types subordinate-relationships subordinate-tags subscribed-recipients
    supported-format-classes supported-formats supported-security-algorithms system-status tags
    target-references threat-authority threat-level time-delay time-delay-normal time-of-active-time-reset
    time-of-device-restart time-of-state-count-reset time-of-strike-count-reset time-synchronization-interval
    time-synchronization-recipients timer-running timer-state total-record-count trace-flag tracking-value
    transaction-notification-class transition trigger units update-interval update-key-set-timeout update-time
    user-external-identifier user-information-reference user-name user-type uses-remaining utc-offset
    utc-time-synchronization-recipients valid-samples value-before-change value-change-time value-set
    value-source value-source-array variance-value vendor-identifier vendor-name verification-time
    virtual-mac-address-table vt-classes-supported weekly-schedule window-interval window-samples write-status
    zone-from zone-members zone-to
    """
)
"""Property identifiers in the standard's hyphenated words."""

COMMANDABLE = _words(
    """
    access-door analog-output analog-value binary-lighting-output binary-output binary-value bitstring-value
    characterstring-value date-pattern-value date-value datetime-pattern-value datetime-value integer-value
    large-analog-value lighting-output multi-state-output multi-state-value octetstring-value
    positive-integer-value time-pattern-value time-value
    """
)
"""Object types whose present value may be written with a priority (19.2)."""
