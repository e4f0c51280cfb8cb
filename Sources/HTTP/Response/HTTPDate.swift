// The Date field: formatted once a second.

/// The current time as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`. Belongs to one event loop.
final class HTTPDate {
    private var second = Int64.min
    private let text = ByteWriter(capacity: 64)

    /// The text for this second. Borrowed until the next call.
    func view(at unixSeconds: Int64) -> ByteView {
        if unixSeconds != second {
            second = unixSeconds
            text.removeAll()
            HTTPDate.append(unixSeconds, to: text)
        }
        return text.view()
    }

    private static let weekdays: StaticString = "ThuFriSatSunMonTueWed"
    private static let months: StaticString = "JanFebMarAprMayJunJulAugSepOctNovDec"

    /// Appends a time between the years 1970 and 9999; another one as the nearest of these.
    static func append(_ unixSeconds: Int64, to writer: ByteWriter) {
        let seconds = Int(min(max(unixSeconds, 0), 253_402_300_799))
        let day = seconds / 86_400
        let ofDay = seconds % 86_400
        // Days since 0000-03-01, so that a leap day is the last of its year.
        let shifted = day + 719_468
        let era = shifted / 146_097
        let ofEra = shifted % 146_097
        let yearOfEra = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * ofYear + 2) / 153
        let ofMonth = ofYear - (153 * marchMonth + 2) / 5 + 1
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        writer.append(ByteView(weekdays)[day % 7 * 3..<day % 7 * 3 + 3])
        writer.append(", ")
        writer.append(ofMonth, width: 2)
        writer.append(" ")
        writer.append(ByteView(months)[month * 3 - 3..<month * 3])
        writer.append(" ")
        writer.append(year, width: 4)
        writer.append(" ")
        writer.append(ofDay / 3600, width: 2)
        writer.append(":")
        writer.append(ofDay / 60 % 60, width: 2)
        writer.append(":")
        writer.append(ofDay % 60, width: 2)
        writer.append(" GMT")
    }
}
