package org.tinyaya.demo.bundle

/** A tree of Map, List, String, numbers, Boolean and null in, JSON text out. */
object JsonWriter {
    /** The text of [value] on one line. */
    fun write(value: Any?): String = StringBuilder().also { append(it, value) }.toString()

    private fun append(out: StringBuilder, value: Any?) {
        when (value) {
            null, is Boolean, is Int, is Long -> out.append(value)
            is Double -> out.append(if (value.isFinite()) value.toString() else "null")
            is Float -> append(out, value.toDouble())
            is String -> appendText(out, value)
            is Map<*, *> -> {
                appendAll(out, '{', '}', value.entries) { (key, item) ->
                    appendText(out, key.toString())
                    out.append(':')
                    append(out, item)
                }
            }
            is Iterable<*> -> appendAll(out, '[', ']', value) { append(out, it) }
            else -> throw IllegalArgumentException("${value::class} has no JSON")
        }
    }

    private fun <T> appendAll(out: StringBuilder, open: Char, close: Char, items: Iterable<T>, write: (T) -> Unit) {
        out.append(open)
        items.forEachIndexed { index, item ->
            if (index > 0) out.append(',')
            write(item)
        }
        out.append(close)
    }

    private fun appendText(out: StringBuilder, text: String) {
        out.append('"')
        for (char in text) {
            when {
                char == '"' || char == '\\' -> out.append('\\').append(char)
                char < ' ' || char.isSurrogate() -> out.append("\\u").append(char.code.toString(16).padStart(4, '0'))
                else -> out.append(char)
            }
        }
        out.append('"')
    }
}
