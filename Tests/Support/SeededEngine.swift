// Engines that place keys by a seed that is printed.

public import LimiterEngine

private let hashSeed = {
    var random = SeededGenerator(for: "hash of keys")
    return HashSeed(random.next(), random.next(), random.next())
}()

extension Engine {
    /// An engine whose hash has the same seed as all others of this process. What `Engine` takes by itself, no failure
    /// could be repeated with.
    public convenience init(shards: Int) { self.init(shards: shards, seed: hashSeed) }
}
