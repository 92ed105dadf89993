"""`otbroker discover`: what the field says of itself, proposed as inventory.

commands      arguments, the record in the ledger, exit status
looking       runs a look on the network, within its bounds
proposal      found devices → entries of the inventory with what people have to decide
names         ids from names that devices give
yaml_text     entries → YAML that the inventory's loader accepts
register_map  CSV → Modbus points
difference    found against the present inventory
"""
