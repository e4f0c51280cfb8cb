// Engines that place keys by a seed that is printed.

package import LimiterEngine

private let hashSeed = {
    var random = SeededGenerator(for: "hash of keys")
    return HashSeed(random.next(), random.next(), random.next())
}()

extension Engine {
    /// An engine whose hash seed is shared by all engines of this process. With `Engine`'s own random seed a failure
    /// could not be reproduced.
    package convenience init(shards: Int) { self.init(shards: shards, seed: hashSeed) }
}
