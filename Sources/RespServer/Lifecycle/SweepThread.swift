// The thread that looks after the server `hz` times a second: forgets expired keys, samples rates and memory, and tells
// the log of shortages.
//
// It waits for stripes, which a command may keep for any length of time, so it is not the control thread: signals and
// new connections depend on no stripe.

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
        // While the state is restored or replaced, the sweep would only be in the way, and might go by the clock of
        // another state.
        if !server.isLoading, !server.replication.isReceiving {
            sweep.tick(now: server.clock.now(), hz: hz)
            // It may have evicted something.
            if server.currentSettings.value.maxmemoryBytes > 0 { server.durability.noteChanges() }
            shortages.look(now: steady)
        }
        server.sweepTurn.release()
        server.rates.sample(server, steady: steady)
        server.memory.sample(steady: steady, clients: server.clientMemory)
    }
}
