package org.tinyaya.demo.bundle

/** JSON that is broken, or that RFC 8259 does not allow; [at] is the byte. */
class JsonError(what: String, val at: Int) : Exception("$what at byte $at")

/**
 * UTF-8 JSON in, values out: a whole tree by [value], or piece by piece by [members] and [items].
 *
 * Stricter than Android's own reader: no NaN, no duplicate keys, no trailing text. Trees hold
 * Map, List, String, Long, Double, Boolean and null.
 */
class JsonReader(private val bytes: ByteArray) {
    private var at = 0
    private var depth = 0

    /** Reads the one value of the text. */
    fun document(): Any? = value().also { end() }

    /** Fails unless nothing but white space is left. */
    fun end() {
        skipSpace()
        if (at < bytes.size) throw JsonError("text after the value", at)
    }

    /** The next value, whatever it is. */
    fun value(): Any? =
        when (val first = peek()) {
            '{'.code -> buildMap { members { put(it, value()) } }
            '['.code -> buildList { items { add(value()) } }
            '"'.code -> string()
            't'.code -> literal("true", true)
            'f'.code -> literal("false", false)
            'n'.code -> literal("null", null)
            else -> if (first == '-'.code || first in DIGITS) number() else throw JsonError("no value", at)
        }

    /** Reads an object; [read] must take the value of each key. */
    fun members(read: (String) -> Unit) {
        val seen = HashSet<String>()
        inside('{', '}') {
            val key = string()
            if (!seen.add(key)) throw JsonError("the key '$key' a second time", at)
            expect(':')
            read(key)
        }
    }

    /** Reads an array; [read] must take each item. */
    fun items(read: (Int) -> Unit) {
        var index = 0
        inside('[', ']') { read(index++) }
    }

    /** Where the reader is; [seek] comes back to it. */
    fun mark(): Int = at

    /** Goes to a place that [mark] gave. */
    fun seek(place: Int) {
        at = place
    }

    /** The first byte of the next value, which is not taken. */
    fun peek(): Int {
        skipSpace()
        if (at == bytes.size) throw JsonError("the end of the text instead of a value", at)
        return bytes[at].toInt()
    }

    /** Takes a string. */
    fun string(): String {
        expect('"')
        val start = at
        while (at < bytes.size && bytes[at] != QUOTE && bytes[at] != BACKSLASH && bytes[at] >= SPACE) at++
        if (at < bytes.size && bytes[at] == QUOTE) {
            return String(bytes, start, at - start, Charsets.US_ASCII).also { at++ }
        }
        at = start
        return unescaped()
    }

    private fun unescaped(): String {
        val text = StringBuilder()
        while (true) {
            val code = Utf8.codePoint(bytes, at)
            if (code < 0) throw JsonError("text that is not UTF-8, or the end of it within a string", at)
            if (code < SPACE) throw JsonError("a control character within a string", at)
            at += Utf8.length(code)
            when (code) {
                '"'.code -> return text.toString()
                '\\'.code -> text.append(escape())
                else -> text.appendCodePoint(code)
            }
        }
    }

    private fun escape(): Char {
        val code = bytes.getOrNull(at++)?.toInt()?.toChar()
        if (code == 'u') return unicode()
        val index = ESCAPES.indexOf(code ?: throw JsonError("the end of the text within a string", at))
        if (index < 0) throw JsonError("the escape \\$code", at)
        return MEANINGS[index]
    }

    private fun unicode(): Char {
        if (at + 4 > bytes.size) throw JsonError("the end of the text within a string", at)
        var code = 0
        repeat(4) {
            val digit = Character.digit(bytes[at++].toInt(), 16)
            if (digit < 0) throw JsonError("an escape \\u without four hex digits", at)
            code = code * 16 + digit
        }
        return code.toChar()
    }

    private fun number(): Any {
        val start = at
        while (at < bytes.size && bytes[at].toInt().toChar() in "+-.0123456789eE") at++
        val text = String(bytes, start, at - start, Charsets.US_ASCII)
        if (!NUMBER.matches(text)) throw JsonError("the number '$text'", start)
        if (text.any { it in ".eE" }) return text.toDouble()
        return text.toLongOrNull() ?: throw JsonError("the number '$text' beyond 64 bits", start)
    }

    private fun <T> literal(text: String, value: T): T {
        for (char in text) {
            if (bytes.getOrNull(at)?.toInt() != char.code) throw JsonError("no value", at)
            at++
        }
        return value
    }

    private fun inside(open: Char, close: Char, read: () -> Unit) {
        expect(open)
        if (++depth > MAX_DEPTH) throw JsonError("more than $MAX_DEPTH levels", at)
        if (peek() == close.code) {
            at++
        } else {
            do {
                read()
                val more = peek()
                at++
                if (more != ','.code && more != close.code) throw JsonError("no ',' or '$close'", at - 1)
            } while (more == ','.code)
        }
        depth--
    }

    private fun expect(char: Char) {
        if (peek() != char.code) throw JsonError("no '$char'", at)
        at++
    }

    private fun skipSpace() {
        while (at < bytes.size && bytes[at].toInt().toChar() in " \t\n\r") at++
    }

    private companion object {
        const val MAX_DEPTH = 64 // a bundle has less than ten; small stacks of threads bear it
        const val QUOTE = '"'.code.toByte()
        const val BACKSLASH = '\\'.code.toByte()
        const val SPACE: Byte = 0x20
        const val ESCAPES = "\"\\/bfnrt"
        const val MEANINGS = "\"\\/\b\u000c\n\r\t"
        val DIGITS = '0'.code..'9'.code
        val NUMBER = Regex("-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]+)?")
    }
}
