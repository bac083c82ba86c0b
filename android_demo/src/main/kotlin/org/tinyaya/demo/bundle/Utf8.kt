package org.tinyaya.demo.bundle

/** Bytes of UTF-8 in, code points out; the platform's decoders differ in what they do to broken text. */
object Utf8 {
    const val BROKEN = -1
    const val CUT = -2

    /** Bytes that [code] takes. */
    fun length(code: Int): Int =
        when {
            code < 0x80 -> 1
            code < 0x800 -> 2
            code < 0x10000 -> 3
            else -> 4
        }

    /** The code point at [at] before [end]; [BROKEN], or [CUT] where more bytes could complete it. */
    fun codePoint(bytes: ByteArray, at: Int, end: Int = bytes.size): Int {
        if (at >= end) return CUT
        val first = bytes[at].toInt() and 0xff
        if (first < 0x80) return first
        val more = following(first)
        if (more == 0) return BROKEN
        var code = first and (0x3f shr more)
        for (i in 1..more) {
            if (at + i >= end) return CUT
            val next = bytes[at + i].toInt() and 0xff
            if (next !in if (i == 1) second(first) else 0x80..0xbf) return BROKEN
            code = (code shl 6) or (next and 0x3f)
        }
        return code
    }

    /** Bytes that one U+FFFD stands for, where [codePoint] is broken or cut. */
    fun brokenLength(bytes: ByteArray, at: Int, end: Int = bytes.size): Int {
        val first = bytes[at].toInt() and 0xff
        var count = 1
        while (count <= following(first) && at + count < end) {
            val next = bytes[at + count].toInt() and 0xff
            if (next !in if (count == 1) second(first) else 0x80..0xbf) break
            count++
        }
        return count
    }

    private fun following(first: Int): Int =
        when (first) {
            in 0xc2..0xdf -> 1
            in 0xe0..0xef -> 2
            in 0xf0..0xf4 -> 3
            else -> 0
        }

    /** The second byte rules out long forms, surrogates and what lies beyond U+10FFFF. */
    private fun second(first: Int): IntRange =
        when (first) {
            0xe0 -> 0xa0..0xbf
            0xed -> 0x80..0x9f
            0xf0 -> 0x90..0xbf
            0xf4 -> 0x80..0x8f
            else -> 0x80..0xbf
        }
}

/** Bytes in, text out as soon as its characters are whole: no character is ever split. */
class Utf8Stream {
    private var held = ByteArray(0)

    /** Takes [bytes]; the text that they complete. */
    fun add(bytes: ByteArray): String = decode(held + bytes, false)

    /** Ends the text: U+FFFD for a character that never became whole. */
    fun flush(): String = decode(held, true)

    private fun decode(bytes: ByteArray, last: Boolean): String {
        val text = StringBuilder()
        var at = 0
        while (at < bytes.size) {
            val code = Utf8.codePoint(bytes, at)
            if (code == Utf8.CUT && !last) break
            text.appendCodePoint(if (code < 0) 0xfffd else code)
            at += if (code < 0) Utf8.brokenLength(bytes, at) else Utf8.length(code)
        }
        held = bytes.copyOfRange(at, bytes.size)
        return text.toString()
    }
}
