package org.tinyaya.demo.template

import org.tinyaya.demo.bundle.ChatTemplateError

/** What a name stands for that nothing was given for; empty text, false, and no members. */
internal class Undefined(val name: String)

/** `namespace(...)`: the one thing that a template may change from within a loop. */
internal class Namespace(val values: MutableMap<String, Any?>)

/** What can be called. */
internal fun interface Callable {
    fun call(plain: List<Any?>, named: Map<String, Any?>): Any?
}

/** Python's view of the values of a template: Map, List, String, Long, Double, Boolean, null. */
internal object Values {
    fun isTrue(value: Any?): Boolean =
        when (value) {
            null, is Undefined -> false
            is Boolean -> value
            is Long -> value != 0L
            is Double -> value != 0.0
            is String -> value.isNotEmpty()
            is Collection<*> -> value.isNotEmpty()
            is Map<*, *> -> value.isNotEmpty()
            else -> true
        }

    /** `str(value)`. */
    fun text(value: Any?): String =
        when (value) {
            is String -> value
            is Undefined -> ""
            else -> repr(value)
        }

    private fun repr(value: Any?): String =
        when (value) {
            null -> "None"
            is Boolean -> if (value) "True" else "False"
            is String -> quoted(value)
            is Undefined -> "Undefined"
            is Map<*, *> -> value.entries.joinToString(", ", "{", "}") { "${repr(it.key)}: ${repr(it.value)}" }
            is List<*> -> value.joinToString(", ", "[", "]") { repr(it) }
            is Long, is Double -> value.toString()
            else -> throw ChatTemplateError("the chat template prints a ${value::class.simpleName}")
        }

    private fun quoted(text: String): String {
        val quote = if ('\'' in text && '"' !in text) '"' else '\''
        val inner = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
        return quote + (if (quote == '\'') inner.replace("'", "\\'") else inner) + quote
    }

    fun items(value: Any?): List<Any?> =
        when (value) {
            is List<*> -> value
            is Map<*, *> -> value.keys.toList()
            is String -> characters(value)
            is Undefined -> emptyList()
            else -> throw ChatTemplateError("the chat template walks over ${text(value)}, which holds no items")
        }

    /** Python counts code points where Kotlin counts UTF-16 units. */
    fun characters(text: String): List<String> = text.codePoints().toArray().map { String(Character.toChars(it)) }

    fun size(value: Any?): Long =
        when (value) {
            is String -> value.codePointCount(0, value.length).toLong()
            is Collection<*> -> value.size.toLong()
            is Map<*, *> -> value.size.toLong()
            is Undefined -> 0
            else -> throw ChatTemplateError("the chat template asks for the length of ${text(value)}")
        }

    fun equal(left: Any?, right: Any?): Boolean {
        val numbers = number(left) to number(right)
        if (numbers.first != null && numbers.second != null) return numbers.first!!.toDouble() == numbers.second!!.toDouble()
        if (left is Undefined && right is Undefined) return true
        if (left is List<*> && right is List<*>) return left.size == right.size && left.zip(right).all { (a, b) -> equal(a, b) }
        return left == right
    }

    /** Numbers as they are, and truth values, which Python counts among them. */
    fun number(value: Any?): Number? =
        when (value) {
            is Boolean -> if (value) 1L else 0L
            is Long -> value
            is Double -> value
            else -> null
        }

    /** An item, a key's value or a character; [Undefined] where there is none. */
    fun member(of: Any?, key: Any?): Any? {
        if (of is Undefined) throw ChatTemplateError("'${of.name}' is undefined")
        val missing = Undefined(text(key))
        return when (of) {
            is Map<*, *> -> if (of.containsKey(key)) of[key] else missing
            is Namespace -> of.values.getOrDefault(key, missing)
            is List<*> -> index(key, of.size)?.let { of[it] } ?: missing
            is String -> if (key is Long) characters(of).let { all -> index(key, all.size)?.let { all[it] } ?: missing } else missing
            else -> missing
        }
    }

    private fun index(key: Any?, size: Int): Int? {
        val at = (key as? Long ?: return null).let { if (it < 0) it + size else it }
        return if (at in 0 until size) at.toInt() else null
    }

    /** `value[start:end:step]`. */
    fun slice(of: Any?, start: Any?, end: Any?, step: Any?): Any {
        val items = items(of)
        val by = (step as? Long ?: 1).toInt()
        if (by == 0) throw ChatTemplateError("the chat template cuts in steps of 0")
        val ends = if (by > 0) 0..items.size else -1 until items.size
        val first = bound(start, items.size, if (by > 0) ends.first else ends.last).coerceIn(ends)
        val last = (if (end == null) (if (by > 0) items.size else -1) else bound(end, items.size, 0)).coerceIn(ends)
        val places = if (by > 0) first until last step by else first downTo last + 1 step -by
        val cut = places.map { items[it] }
        return if (of is String) cut.joinToString("") else cut
    }

    private fun bound(value: Any?, size: Int, absent: Int): Int {
        val at = value as? Long ?: return absent
        return (if (at < 0) maxOf(at + size, -1L) else minOf(at, size.toLong())).toInt()
    }

    /** `json.dumps(value, ensure_ascii=False, indent=indent)`. */
    fun json(value: Any?, indent: Int?, depth: Int = 0): String {
        val comma = if (indent == null) ", " else ",\n" + " ".repeat(indent * (depth + 1))
        val open = if (indent == null) "" else "\n" + " ".repeat(indent * (depth + 1))
        val close = if (indent == null) "" else "\n" + " ".repeat(indent * depth)
        return when (value) {
            null -> "null"
            is Boolean, is Long, is Double -> value.toString()
            is String -> jsonText(value)
            is Map<*, *> ->
                if (value.isEmpty()) {
                    "{}"
                } else {
                    value.entries.joinToString(comma, "{$open", "$close}") { "${jsonText(text(it.key))}: ${json(it.value, indent, depth + 1)}" }
                }
            is List<*> -> if (value.isEmpty()) "[]" else value.joinToString(comma, "[$open", "$close]") { json(it, indent, depth + 1) }
            else -> throw ChatTemplateError("the chat template writes ${text(value)} as JSON")
        }
    }

    private fun jsonText(text: String): String =
        text.map { char ->
            when {
                char == '"' || char == '\\' -> "\\$char"
                char == '\n' -> "\\n"
                char == '\r' -> "\\r"
                char == '\t' -> "\\t"
                char == '\b' -> "\\b"
                char == '\u000c' -> "\\f"
                char < ' ' -> "\\u%04x".format(char.code)
                else -> char.toString()
            }
        }.joinToString("", "\"", "\"")
}
