/* A Modbus device on libmodbus: 200 holding registers (each holds its address), 200 input registers, 64 coils.
 * usage: libmodbus_server tcp PORT | libmodbus_server rtu PATH ; prints "ready" when it can be asked. */
#include <errno.h>
#include <modbus.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void serve(modbus_t *device, modbus_mapping_t *map) {
  uint8_t query[MODBUS_MAX_ADU_LENGTH];
  for (;;) {
    int octets = modbus_receive(device, query);
    if (octets > 0)
      modbus_reply(device, query, octets, map);
    else if (octets < 0)
      return;
  }
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  modbus_mapping_t *map = modbus_mapping_new(64, 64, 200, 200);
  if (!map) return 1;
  for (int i = 0; i < 200; i++) map->tab_registers[i] = map->tab_input_registers[i] = i;
  if (!strcmp(argv[1], "tcp")) {
    modbus_t *device = modbus_new_tcp("127.0.0.1", atoi(argv[2]));
    int listener = modbus_tcp_listen(device, 4);
    if (listener < 0) return 1;
    puts("ready");
    fflush(stdout);
    for (;;) {
      if (modbus_tcp_accept(device, &listener) < 0) return 1;
      serve(device, map);
      modbus_close(device);
    }
  }
  modbus_t *device = modbus_new_rtu(argv[2], 19200, 'N', 8, 1);
  modbus_set_slave(device, 1);
  if (modbus_connect(device) < 0) return 1;
  puts("ready");
  fflush(stdout);
  for (;;) serve(device, map);
}
