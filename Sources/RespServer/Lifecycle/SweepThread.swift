// The thread for periodic work, `hz` times a second: drops expired keys, samples rates and memory, and logs shortages.
//
// It waits for stripes, which a command may hold for any length of time, so it is separate from the control thread:
// handling signals and accepting connections must not depend on any stripe.

import CLinux
import Glibc
import Synchronization
import System

struct SweepThread {
    private let server: Server
    private var sweep: SweepPace
    private var shortages: ShortageWatch

    /// Starts the thread, which ends when the server is about to stop.
    static func start(for server: Server) {
        Thread.detach(name: "sweep") {
            var thread = SweepThread(server: server)
            thread.run()
        }
    }

    private init(server: Server) {
        self.server = server
        sweep = SweepPace(engine: server.engine)
        shortages = ShortageWatch(server: server)
    }

    private mutating func run() {
        var nextTick = SteadyInstant.now()
        while !server.isStopping {
            let hz = server.currentSettings.value.hz
            let now = SteadyInstant.now()
            if now < nextTick {
                Thread.sleep(min(nextTick - now, .seconds(1)))
                continue
            }
            nextTick = now + .seconds(1) / Int64(hz)
            tick(steady: now, hz: hz)
        }
    }

    private mutating func tick(steady: SteadyInstant, hz: Int) {
        server.sweepTurn.acquire()
        // While the state is restored or replaced, the sweep would only interfere, and might use the clock of another
        // state.
        if !server.isLoading, !server.replication.isReceiving {
            sweep.tick(now: server.clock.now(), hz: hz)
            // The sweep may have evicted keys.
            if server.currentSettings.value.maxmemoryBytes > 0 { server.durability.noteChanges() }
            shortages.look(now: steady)
        }
        server.sweepTurn.release()
        server.rates.sample(server, steady: steady)
        server.memory.sample(steady: steady, clients: server.clientMemory)
    }
}
