// From decisions to the answers of other rate-limit services: see CompatReaders.
//
// Some of them report instants. Those are the wall clock plus a duration, so that a client compares them with its own
// clock, not with the engine's.

import HTTP
import LimiterEngine
import RESP
import System

enum CompatAnswers {
    private static var millisecond: Int64 { 1_000_000 }

    static func write(_ form: GatewayForm, _ call: UnsafeMutablePointer<LimitCall>, on loop: EventLoop) {
        switch form {
        case .tier: tier(call, on: loop)
        case .limitKey: limitKey(call, on: loop)
        case .consume: consume(call, on: loop)
        case .throttle: throttle(call, on: loop)
        case .decision, .state, .group, .auth, .envoy: preconditionFailure("not a form of another service")
        }
        loop.http.response.body.append("\n")
    }

    /// The wall clock in milliseconds when the limit is replenished.
    private static func resetAt(_ call: UnsafeMutablePointer<LimitCall>) -> Int64 {
        WallInstant.now().nanoseconds / millisecond + ceilingUnits(call.pointee.decision.resetAfter, unit: millisecond)
    }

    private static func isAllowed(_ call: UnsafeMutablePointer<LimitCall>) -> Bool {
        call.pointee.decision.outcome == .allowed
    }

    private static func tier(_ call: UnsafeMutablePointer<LimitCall>, on loop: EventLoop) {
        let response = loop.http.response
        let isAllowed = isAllowed(call)
        response.begin(isAllowed ? .ok : .tooManyRequests, .json)
        var writer = JSONWriter(response.body)
        writer.beginObject()
        if !isAllowed {
            RateLimitFields.writeRetryAfter(nanoseconds: call.pointee.decision.retryAfter, to: response.lines)
            writer.name("detail")
            writer.beginObject()
        }
        writer.name("allowed")
        writer.bool(isAllowed)
        if isAllowed {
            writer.name("tokens_remaining")
            writer.integer(call.pointee.decision.remaining)
        }
        writer.name("reset_at")
        writer.seconds(milliseconds: resetAt(call))
        writer.name("limit")
        writer.integer(call.pointee.decision.limit)
        writer.name("retry_after")
        let wait = call.pointee.decision.retryAfter
        if isAllowed || wait < 0 { writer.null() } else { writer.integer(RateLimitFields.wholeSeconds(wait)) }
        if !isAllowed { writer.endObject() }
        writer.endObject()
    }

    private static func limitKey(_ call: UnsafeMutablePointer<LimitCall>, on loop: EventLoop) {
        let response = loop.http.response
        let wait = call.pointee.decision.retryAfter
        response.begin(isAllowed(call) ? .ok : .tooManyRequests, .json)
        if !isAllowed(call) { RateLimitFields.writeRetryAfter(nanoseconds: wait, to: response.lines) }
        var writer = JSONWriter(response.body)
        writer.beginObject()
        writer.name("allowed")
        writer.bool(isAllowed(call))
        writer.name("remaining")
        writer.integer(call.pointee.decision.remaining)
        writer.name("retry_after_ms")
        if isAllowed(call) {
            writer.integer(0)
        } else if wait < 0 {
            writer.null()
        } else {
            writer.integer(ceilingUnits(wait, unit: millisecond))
        }
        writer.name("limit")
        writer.integer(call.pointee.decision.limit)
        writer.name("window")
        writer.integer(RateLimitFields.wholeSeconds(call.pointee.limit.period))
        writer.name("reset_at")
        writer.seconds(milliseconds: resetAt(call))
        writer.endObject()
    }

    private static func consume(_ call: UnsafeMutablePointer<LimitCall>, on loop: EventLoop) {
        let response = loop.http.response
        response.begin(.ok, .json)
        var writer = JSONWriter(response.body)
        writer.beginObject()
        writer.name("allowed")
        writer.bool(isAllowed(call))
        writer.name("remaining_requests")
        writer.integer(call.pointee.decision.remaining)
        writer.name("reset_time_seconds")
        writer.integer((resetAt(call) + 999) / 1000)
        writer.name("status")
        writer.string("processed" as StaticString)
        writer.endObject()
    }

    private static func throttle(_ call: UnsafeMutablePointer<LimitCall>, on loop: EventLoop) {
        let response = loop.http.response
        let wait = call.pointee.decision.retryAfter
        response.begin(.ok, .json)
        var writer = JSONWriter(response.body)
        writer.beginObject()
        writer.name("allowed")
        writer.bool(isAllowed(call))
        writer.name("limit")
        writer.integer(call.pointee.decision.limit)
        writer.name("remaining")
        writer.integer(call.pointee.decision.remaining)
        writer.name("reset_after")
        writer.integer(RateLimitFields.wholeSeconds(call.pointee.decision.resetAfter))
        writer.name("retry_after")
        writer.integer(isAllowed(call) ? 0 : wait < 0 ? -1 : RateLimitFields.wholeSeconds(wait))
        writer.endObject()
    }
}
