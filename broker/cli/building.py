"""The building of `otbroker dev`: site `plant` with four devices, its windows and who may do what, as YAML."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

ANA = "ana@acme.example"
BMS = "spiffe://plant.example/bms-sync"
SATURDAY = 5
OPEN_SECONDS = 8 * 3600


@dataclass(frozen=True, slots=True)
class Building:
    """Where the simulated devices live, as ports on 127.0.0.1 (0: any), and when the open window began."""

    ahu_port: int
    meter_port: int
    vav_port: int
    opened: int


NOTHING_YET = Building(0, 0, 0, 0)


def devices_yaml(at: Building, chiller_tty: str) -> str:
    """Site, segments and devices."""
    return f"""# The simulated building. Addresses are zero-based protocol addresses.
sites:
  - {{id: plant, bacnet: {{network: 2001}}}}
segments:
  - {{id: hvac, site: plant, description: air handling and chilled water}}
  - {{id: metering, site: plant}}
devices:
  - id: ahu-1
    site: plant
    segment: hvac
    description: air handling unit
    protocol: modbus
    upstream: {{modbus_tcp: {{host: 127.0.0.1, port: {at.ahu_port}}}, unit_id: 1}}
    unit_id: 1
    criticality: medium
    labels: {{system: hvac}}
    points:
      - {{id: supply-temp, table: holding-register, address: 0, type: int16, scale: 0.1, unit: "°C"}}
      - {{id: return-temp, table: holding-register, address: 1, type: int16, scale: 0.1, unit: "°C"}}
      - id: supply-temp-setpoint
        table: holding-register
        address: 10
        type: int16
        scale: 0.1
        unit: "°C"
        minimum: 16.0
        maximum: 22.0
        action: adjust
      - {{id: fan-command, table: holding-register, address: 20, type: uint16, action: control}}
      - {{id: energy, table: holding-register, address: 30, type: uint32, unit: kWh}}
      - {{id: filter-pressure, table: holding-register, address: 40, type: float32, unit: Pa}}
  - id: chiller-1
    site: plant
    segment: hvac
    description: chiller on a serial line
    protocol: modbus
    upstream: {{serial: {{path: {chiller_tty}, baud: 19200}}, unit_id: 1}}
    unit_id: 2
    criticality: high
    labels: {{system: hvac}}
    points:
      - {{id: chilled-water-temp, table: holding-register, address: 0, type: int16, scale: 0.1, unit: "°C"}}
      - id: chilled-water-setpoint
        table: holding-register
        address: 10
        type: int16
        scale: 0.1
        unit: "°C"
        minimum: 5.0
        maximum: 12.0
        action: adjust
  - id: vav-1
    site: plant
    segment: hvac
    description: variable air volume box of zone 1
    protocol: bacnet
    upstream: {{bacnet_ip: {{host: 127.0.0.1, port: {at.vav_port}, instance: 1001}}}}
    criticality: low
    labels: {{system: hvac}}
    points:
      - id: zone-setpoint
        object: analog-value
        instance: 1
        priority: [10, 16]
        unit: "°C"
        minimum: 16.0
        maximum: 26.0
        action: adjust
      - {{id: zone-temp, object: analog-input, instance: 1, unit: "°C"}}
  - id: meter-1
    site: plant
    segment: metering
    description: heat meter, serviced on Saturdays
    protocol: modbus
    upstream: {{modbus_tcp: {{host: 127.0.0.1, port: {at.meter_port}}}, unit_id: 1}}
    unit_id: 3
    labels: {{system: metering}}
    points:
      - {{id: heat-energy, table: holding-register, address: 0, type: uint32, unit: kWh}}
      - {{id: pulse-weight, table: holding-register, address: 10, type: uint16, unit: Wh, action: adjust}}
"""


def access_yaml(opened_at: int, window_seconds: int | None) -> str:
    """Windows and standing grants: `maintenance` is open from then on, `saturday` opens the Saturday after."""
    opened = datetime.fromtimestamp(opened_at, UTC).replace(tzinfo=None)
    seconds = OPEN_SECONDS if window_seconds is None else window_seconds
    days = (SATURDAY - opened.weekday()) % 7 or 7
    saturday = (opened + timedelta(days=days)).replace(hour=8, minute=0, second=0)
    return f"""windows:
  - id: maintenance
    description: open now
    scope: {{devices: [plant/ahu-1, plant/chiller-1, plant/vav-1]}}
    starts: {opened.isoformat()}
    zone: UTC
    duration: PT{seconds}S
  - id: saturday
    description: meters are serviced on Saturdays
    scope: {{devices: [plant/meter-1]}}
    starts: {saturday.isoformat()}
    zone: UTC
    duration: PT8H
    recurrence: FREQ=WEEKLY;BYDAY=SA
grants:
  - id: ana-view
    description: the vendor may look at what it maintains
    subjects: [{ANA}]
    scope: {{devices: [plant/ahu-1, plant/chiller-1, plant/vav-1]}}
    actions: [view, discover]
  - id: ana-adjust
    description: two setpoints, inside an open window
    subjects: [{ANA}]
    scope: {{devices: [plant/ahu-1, plant/vav-1]}}
    points: [supply-temp-setpoint, zone-setpoint]
    actions: [adjust]
  - id: ana-meter
    subjects: [{ANA}]
    scope: {{devices: [plant/meter-1]}}
    actions: [view, adjust]
    windows: [saturday]
  - id: northwind-view
    description: who enrols of this vendor may look at the air handling unit
    organisations: [northwind]
    scope: {{devices: [plant/ahu-1]}}
    actions: [view, discover]
  - id: bms-view
    description: the building management system collects values, at any time
    subjects: ["{BMS}"]
    scope: {{sites: [plant]}}
    actions: [view, discover]
"""
