package otbroker.fixtures_test

now := 1790000000

grant := {
	"id": "look",
	"kind": "standing",
	"actions": ["view", "discover"],
	"points": [],
	"windows": [],
	"not_before": null,
	"not_after": null,
	"plan": null,
	"single_use": false,
	"supervised": false,
}

grants := [
	grant,
	object.union(grant, {
		"id": "adjust",
		"actions": ["adjust"],
		"points": ["supply-temp-setpoint"],
		"not_before": now - 10,
		"not_after": now + 10,
	}),
]

planned(values) := object.union(grants[1], {
	"id": "planned",
	"kind": "request",
	"plan": [{"point": point.name, "value": value, "priority": null} | some value in values],
})

planned_at(priorities) := object.union(grants[1], {
	"id": "planned",
	"kind": "request",
	"plan": [{"point": point.name, "value": "21.5", "priority": priority} | some priority in priorities],
})

point := {
	"name": "supply-temp-setpoint",
	"class": "adjust",
	"engineering_unit": "°C",
	"limits": {"minimum": "16.0", "maximum": "22.0", "allowed": []},
	"priority": null,
	"on_leave": "keep",
	"whole": true,
	"value": "21.5",
}

adjust := {
	"protocol": "modbus",
	"action": "adjust",
	"service": "write-single-register",
	"unit_id": 1,
	"address": {"table": "holding-register", "start": 10, "count": 1},
	"points": [point],
	"raw_values": ["215"],
	"values": {"supply-temp-setpoint": "21.5"},
	"priority": null,
	"described": true,
	"writes": true,
	"facts": {},
}

view := object.union(object.remove(adjust, ["values"]), {
	"action": "view",
	"service": "read-holding-registers",
	"points": [object.union(point, {"value": null})],
	"raw_values": [],
	"values": {},
	"writes": false,
})

bacnet := object.union(object.remove(adjust, ["address"]), {
	"protocol": "bacnet",
	"service": "write-property",
	"unit_id": null,
	"address": {"object_type": "analog-value", "instance": 1, "property": "present-value", "index": null},
	"points": [object.union(point, {"priority": {"lowest": 10, "highest": 16}})],
	"priority": 12,
})

finding := object.union(object.remove(bacnet, ["values", "address"]), {
	"action": "discover",
	"service": "who-is",
	"address": {"object_type": "device", "instance": 1001, "property": null, "index": null},
	"points": [],
	"raw_values": [],
	"values": {},
	"priority": null,
	"writes": false,
})

# A BACnet object that no point describes, looked at; and told to do something.
asking := object.union(bacnet, {
	"action": "view",
	"service": "read-property",
	"points": [],
	"raw_values": [],
	"described": false,
	"writes": false,
	"priority": null,
})

commanding := object.union(asking, {"service": "acknowledge-alarm", "action": "control", "writes": true})

certificate := {
	"kind": "certificate",
	"issuer": "CN=vendor",
	"identifier": "ana@vendor.example",
	"fingerprint": "c0ffee",
	"serial": "17",
	"proven_at": now - 1,
	"not_after": now + 1000,
	"crl_next_update": null,
	"authenticated_at": null,
	"acr": "",
	"methods": [],
}

token := object.union(certificate, {"kind": "token", "issuer": "https://login.vendor.example", "serial": ""})

session := {
	"version": 1,
	"now": now,
	"subject": {
		"id": "ana@vendor.example",
		"kind": "person",
		"organisation": {"id": "vendor", "owner": false, "contract_from": now - 100, "contract_until": now + 100},
		"roles": ["auditor"],
		"modbus_role": null,
		"proofs": [certificate],
	},
	"device": {
		"id": "ahu-1",
		"site": "plant",
		"segment": "hvac",
		"labels": {},
		"criticality": "low",
		"protocol": "modbus",
	},
	"windows": {"open": [{"id": "night", "opens": now - 5, "closes": now + 5}], "next": null},
	"freezes": [],
	"grants": grants,
	"session": {"id": "s", "listener": "modbus_tls", "peer": "127.0.0.1:1", "started": now, "mfa_at": null, "watched_by": []},
}

operation(asked) := object.union(session, {"operation": asked, "armed": []})

freeze(views) := {"id": "holidays", "opens": now - 1, "closes": now + 1, "views": views}

changed(document, changes) := object.union(document, changes)

write(changes) := operation(object.union(adjust, {"points": [object.union(point, changes)]}))

priority(changes) := operation(object.union(bacnet, changes))
