// Commands and bytes per second since the previous sample, for INFO.

import System

final class Rates: Sendable {
    struct PerSecond {
        var commands: Double = 0
        var inputBytes: Double = 0
        var outputBytes: Double = 0
    }

    private struct State {
        var at: SteadyInstant?
        var commands: UInt64 = 0
        var input: UInt64 = 0
        var output: UInt64 = 0
        var latest = PerSecond()
    }

    private let state = Locked(State())

    var latest: PerSecond { state.withLock { $0.latest } }

    /// Takes a sample once a second; called by the sweep thread at every tick.
    func sample(_ server: Server, steady: SteadyInstant) {
        state.withLock { state in
            let elapsed = state.at.map { steady - $0 } ?? .forever
            guard elapsed >= .seconds(1) else { return }
            let commands = server.total(.commands)
            let input = server.total(.inputBytes)
            let output = server.total(.outputBytes)
            let seconds = elapsed.fractionalSeconds
            // After CONFIG RESETSTAT the counters are lower than the last sample.
            func rate(_ new: UInt64, _ old: UInt64) -> Double { new < old ? 0 : Double(new - old) / seconds }
            if state.at != nil {
                state.latest = PerSecond(
                    commands: rate(commands, state.commands), inputBytes: rate(input, state.input),
                    outputBytes: rate(output, state.output))
            }
            state = State(at: steady, commands: commands, input: input, output: output, latest: state.latest)
        }
    }
}

extension Server {
    /// A counter summed over all loops.
    func total(_ counter: LoopCounters.Counter) -> UInt64 { loops.reduce(0) { $0 + $1.counters.value(counter) } }
}
