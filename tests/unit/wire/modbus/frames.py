"""Strategies: every request that the standard allows, and every reply that answers one."""

from hypothesis import strategies as st

from broker.wire.modbus import bits, diagnostics, files, identification, registers

words = st.integers(0, 0xFFFF)


def _octets_of_words(least, most):
    return st.integers(least, most).flatmap(lambda n: st.binary(min_size=2 * n, max_size=2 * n))


def _ranges(most):
    return st.integers(1, most).flatmap(lambda count: st.tuples(st.integers(0, 65536 - count), st.just(count)))


def _range_requests(kind, most):
    return _ranges(most).map(lambda r: kind(*r))


def _packed(count):
    return st.integers(0, 2**count - 1).map(lambda n: n.to_bytes((count + 7) // 8, "little"))


def _write_coils():
    return _ranges(1968).flatmap(
        lambda r: st.builds(bits.WriteMultipleCoils, st.just(r[0]), st.just(r[1]), _packed(r[1]))
    )


def _write_registers():
    return _octets_of_words(1, 123).flatmap(
        lambda data: st.builds(registers.WriteMultipleRegisters, st.integers(0, 65536 - len(data) // 2), st.just(data))
    )


def _read_write_registers():
    return st.tuples(_ranges(125), _octets_of_words(1, 121)).flatmap(
        lambda t: st.builds(
            registers.ReadWriteMultipleRegisters,
            st.just(t[0][0]),
            st.just(t[0][1]),
            st.integers(0, 65536 - len(t[1]) // 2),
            st.just(t[1]),
        )
    )


def _diagnostics():
    zero = st.sampled_from([2, 4, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20]).map(
        lambda sub: diagnostics.Diagnostics(sub, b"\0\0")
    )
    query = _octets_of_words(1, 125).map(lambda data: diagnostics.Diagnostics(0, data))
    restart = st.sampled_from([b"\0\0", b"\xff\0"]).map(lambda data: diagnostics.Diagnostics(1, data))
    delimiter = st.integers(0, 255).map(lambda c: diagnostics.Diagnostics(3, bytes((c, 0))))
    return zero | query | restart | delimiter


def _file_range():
    return st.tuples(st.integers(1, 0xFFFF), st.integers(0, 9000), st.integers(1, 5)).map(lambda t: files.FileRange(*t))


def _file_contents():
    return st.builds(files.FileContents, st.integers(1, 0xFFFF), st.integers(0, 9000), _octets_of_words(1, 10))


requests_by_function = {
    1: _range_requests(bits.ReadCoils, 2000),
    2: _range_requests(bits.ReadDiscreteInputs, 2000),
    3: _range_requests(registers.ReadHoldingRegisters, 125),
    4: _range_requests(registers.ReadInputRegisters, 125),
    5: st.builds(bits.WriteSingleCoil, words, st.booleans()),
    6: st.builds(registers.WriteSingleRegister, words, words),
    7: st.just(diagnostics.ReadExceptionStatus()),
    8: _diagnostics(),
    11: st.just(diagnostics.GetCommEventCounter()),
    12: st.just(diagnostics.GetCommEventLog()),
    15: _write_coils(),
    16: _write_registers(),
    17: st.just(diagnostics.ReportServerId()),
    20: st.lists(_file_range(), min_size=1, max_size=20).map(lambda r: files.ReadFileRecord(tuple(r))),
    21: st.lists(_file_contents(), min_size=1, max_size=9).map(lambda c: files.WriteFileRecord(tuple(c))),
    22: st.builds(registers.MaskWriteRegister, words, words, words),
    23: _read_write_registers(),
    24: st.builds(registers.ReadFifoQueue, words),
    43: st.builds(identification.ReadDeviceIdentification, st.integers(1, 4), st.integers(0, 255)),
}
requests = st.sampled_from(sorted(requests_by_function)).flatmap(requests_by_function.__getitem__)


def _exactly(size):
    return st.binary(min_size=size, max_size=size)


def _identification_replies(request):
    one = request.code == 4
    ids = st.just(request.object_id) if one else st.integers(0, 255)
    objects = st.lists(
        st.builds(identification.IdentificationObject, ids, st.binary(max_size=40)),
        min_size=1 if one else 0,
        max_size=1 if one else 5,
    )
    more = st.just(False) if one else st.booleans()
    return st.tuples(objects, more, st.integers(0, 255), st.sampled_from([1, 2, 3, 0x81, 0x82, 0x83])).map(
        lambda t: identification.ReadDeviceIdentificationReply(
            request.code, t[3], t[1], t[2] if t[1] else 0, tuple(t[0])
        )
    )


def replies(request):
    """Replies that answer a request; none for force listen only, which has no reply."""
    match request:
        case bits.ReadCoils() | bits.ReadDiscreteInputs():
            return _packed(request.count).map(request.reply)
        case registers.ReadHoldingRegisters() | registers.ReadInputRegisters():
            return _exactly(2 * request.count).map(request.reply)
        case bits.WriteSingleCoil():
            return st.just(bits.WriteSingleCoilReply(request.start, request.on))
        case registers.WriteSingleRegister():
            return st.just(registers.WriteSingleRegisterReply(request.start, request.value))
        case bits.WriteMultipleCoils():
            return st.just(bits.WriteMultipleCoilsReply(request.start, request.count))
        case registers.WriteMultipleRegisters():
            return st.just(registers.WriteMultipleRegistersReply(request.start, request.count))
        case registers.MaskWriteRegister():
            return st.just(registers.MaskWriteRegisterReply(request.start, request.and_mask, request.or_mask))
        case registers.ReadWriteMultipleRegisters():
            return _exactly(2 * request.read_count).map(registers.ReadWriteMultipleRegistersReply)
        case registers.ReadFifoQueue():
            return _octets_of_words(0, 31).map(registers.ReadFifoQueueReply)
        case files.ReadFileRecord():
            return st.tuples(*(_exactly(2 * r.length) for r in request.ranges)).map(files.ReadFileRecordReply)
        case files.WriteFileRecord():
            return st.just(files.WriteFileRecordReply(request.contents))
        case identification.ReadDeviceIdentification():
            return _identification_replies(request)
        case _:
            return _diagnostic_replies(request)


def _diagnostic_replies(request):
    status = st.sampled_from([0, 0xFFFF])
    match request:
        case diagnostics.ReadExceptionStatus():
            return st.integers(0, 255).map(diagnostics.ReadExceptionStatusReply)
        case diagnostics.GetCommEventCounter():
            return st.builds(diagnostics.GetCommEventCounterReply, status, words)
        case diagnostics.GetCommEventLog():
            return st.builds(diagnostics.GetCommEventLogReply, status, words, words, st.binary(max_size=64))
        case diagnostics.ReportServerId():
            return st.binary(min_size=1, max_size=251).map(diagnostics.ReportServerIdReply)
        case diagnostics.Diagnostics(sub_function=4):
            return st.nothing()
        case diagnostics.Diagnostics(sub_function=sub) if sub in diagnostics.COUNTERS:
            return _exactly(2).map(lambda data: diagnostics.DiagnosticsReply(sub, data))
        case diagnostics.Diagnostics():
            return st.just(diagnostics.DiagnosticsReply(request.sub_function, request.data))
    raise AssertionError(request)


answerable = requests.filter(lambda r: not (r.function == 8 and r.sub_function == 4))
exchanges = answerable.flatmap(lambda request: st.tuples(st.just(request), replies(request)))
