// POSIX threads: a name and a body.

public import CLinux
import Glibc

/// Starts threads and puts them to sleep. Owns nothing: a thread ends when its body returns.
public enum Thread {
    private final class Start {
        let name: String
        let body: @Sendable () -> Void

        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    /// Puts the calling thread to sleep for `length`, or until a signal arrives; returns at once if `length` is not
    /// positive.
    public static func sleep(_ length: Nanoseconds) {
        guard length > .zero else { return }
        let (seconds, rest) = length.nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        var pause = timespec(tv_sec: Int(seconds), tv_nsec: Int(rest))
        nanosleep(&pause, nil)
    }

    /// Starts a thread that is never joined.
    public static func detach(name: String, _ body: @escaping @Sendable () -> Void) {
        pthread_detach(start(name: name, body))
    }

    /// Starts a thread. Traps if the kernel refuses: the server cannot run without its loops.
    ///
    /// - Parameter name: The kernel shows at most 15 bytes of it.
    @discardableResult
    public static func start(name: String, _ body: @escaping @Sendable () -> Void) -> pthread_t {
        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(name: name, body: body))
        let result = pthread_create(
            &thread, nil,
            { argument in
                let start = Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
                clinux_name_thread(start.name)
                start.body()
                return nil
            }, start.toOpaque())
        precondition(result == 0, "pthread_create: \(SystemError.text(result))")
        return thread
    }
}
