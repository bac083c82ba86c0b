package org.tinyaya.demo.template

import org.tinyaya.demo.bundle.ChatTemplateError
import java.time.LocalDateTime
import java.time.format.DateTimeFormatter
import java.util.Locale

/** The functions, filters, tests and methods that templates may use; a name that is not here is refused. */
internal object Builtins {
    private const val MOST_ITEMS = 100_000L

    val functions: Map<String, Callable> =
        mapOf(
            "namespace" to Callable { plain, named ->
                Namespace(((plain.firstOrNull() as? Map<*, *>).orEmpty().mapKeys { it.key.toString() } + named).toMutableMap())
            },
            "range" to Callable { plain, _ -> range(plain) },
            "dict" to Callable { _, named -> named },
            "raise_exception" to Callable { plain, _ -> throw ChatTemplateError(Values.text(plain.firstOrNull())) },
            "strftime_now" to Callable { plain, _ -> Clock.format(plain.firstOrNull() as String) },
        )

    private fun range(plain: List<Any?>): List<Long> {
        val ends = plain.map { it as? Long ?: throw ChatTemplateError("range() takes whole numbers") }
        val (first, last) = if (ends.size > 1) ends[0] to ends[1] else 0L to ends[0]
        if (last - first > MOST_ITEMS) throw ChatTemplateError("range() of more than $MOST_ITEMS items")
        val step = ends.getOrElse(2) { 1L }
        return if (step > 0) (first until last step step).toList() else (first downTo last + 1 step -step).toList()
    }

    fun filter(name: String, value: Any?, plain: List<Any?>, named: Map<String, Any?>): Any? {
        val first = plain.firstOrNull()
        return when (name) {
            "trim" -> strip(Values.text(value), plain)
            "lower" -> Values.text(value).lowercase(Locale.ROOT)
            "upper" -> Values.text(value).uppercase(Locale.ROOT)
            "capitalize" -> capitalize(Values.text(value))
            "length", "count" -> Values.size(value)
            "default", "d" -> default(value, first ?: named["default_value"] ?: "", plain.getOrNull(1) ?: named["boolean"])
            "join" -> Values.items(value).joinToString(Values.text(first ?: named["d"] ?: "")) { Values.text(attribute(it, named)) }
            "replace" -> Values.text(value).replace(Values.text(first), Values.text(plain[1]))
            "first" -> Values.items(value).let { if (it.isEmpty()) Undefined("first") else it[0] }
            "last" -> Values.items(value).let { if (it.isEmpty()) Undefined("last") else it.last() }
            "tojson" -> Values.json(value, ((first ?: named["indent"]) as? Long)?.toInt())
            "string", "safe" -> Values.text(value)
            "int" -> int(value, first)
            "list" -> Values.items(value)
            "reverse" -> if (value is String) Values.characters(value).reversed().joinToString("") else Values.items(value).reversed()
            "items" -> (value as? Map<*, *>).orEmpty().map { listOf(it.key, it.value) }
            "map" -> Values.items(value).map { attribute(it, named) }
            "selectattr" -> Values.items(value).filter { chosen(it, plain) }
            "rejectattr" -> Values.items(value).filterNot { chosen(it, plain) }
            else -> throw ChatTemplateError("the chat template uses the filter '$name', which this app does not know")
        }
    }

    private fun default(value: Any?, other: Any?, whenFalse: Any?): Any? =
        if (value is Undefined || Values.isTrue(whenFalse) && !Values.isTrue(value)) other else value

    private fun attribute(item: Any?, named: Map<String, Any?>): Any? =
        named["attribute"]?.let { Values.member(item, it) } ?: item

    private fun chosen(item: Any?, plain: List<Any?>): Boolean {
        val member = Values.member(item, plain[0])
        return if (plain.size == 1) Values.isTrue(member) else test(Values.text(plain[1]), member, plain.drop(2))
    }

    private fun int(value: Any?, other: Any?): Any? =
        when (value) {
            is String -> value.trim().toLongOrNull() ?: value.trim().toDoubleOrNull()?.toLong()
            else -> Values.number(value)?.toLong()
        } ?: other ?: 0L

    fun test(name: String, value: Any?, plain: List<Any?>): Boolean {
        val number = Values.number(value)
        return when (name) {
            "defined" -> value !is Undefined
            "undefined" -> value is Undefined
            "none" -> value == null
            "string" -> value is String
            "number" -> number != null
            "integer" -> value is Long
            "float" -> value is Double
            "boolean" -> value is Boolean
            "true" -> value == true
            "false" -> value == false
            "mapping" -> value is Map<*, *>
            "sequence", "iterable" -> value is List<*> || value is String || value is Map<*, *> || value is Undefined
            "eq", "equalto" -> Values.equal(value, plain[0])
            "ne" -> !Values.equal(value, plain[0])
            "in" -> Operators.contains(plain[0], value)
            "odd" -> number!!.toLong() % 2 != 0L
            "even" -> number!!.toLong() % 2 == 0L
            else -> throw ChatTemplateError("the chat template uses the test '$name', which this app does not know")
        }
    }

    /** A method of a text or an object; null if there is none of that name. */
    fun method(of: Any?, name: String): Callable? =
        when (of) {
            is String -> textMethod(of, name)
            is Map<*, *> -> objectMethod(of, name)
            else -> null
        }

    private fun textMethod(text: String, name: String): Callable? =
        when (name) {
            "strip" -> Callable { plain, _ -> strip(text, plain) }
            "lstrip" -> Callable { plain, _ -> text.dropWhile(stripped(plain)) }
            "rstrip" -> Callable { plain, _ -> text.dropLastWhile(stripped(plain)) }
            "startswith" -> Callable { plain, _ -> prefixes(plain).any { text.startsWith(it) } }
            "endswith" -> Callable { plain, _ -> prefixes(plain).any { text.endsWith(it) } }
            "split" -> Callable { plain, _ -> split(text, plain) }
            "upper" -> Callable { _, _ -> text.uppercase(Locale.ROOT) }
            "lower" -> Callable { _, _ -> text.lowercase(Locale.ROOT) }
            "capitalize" -> Callable { _, _ -> capitalize(text) }
            "replace" -> Callable { plain, _ -> text.replace(plain[0] as String, plain[1] as String) }
            "join" -> Callable { plain, _ -> Values.items(plain[0]).joinToString(text) { Values.text(it) } }
            "find" -> Callable { plain, _ -> text.indexOf(plain[0] as String).let { if (it < 0) -1L else text.codePointCount(0, it).toLong() } }
            else -> null
        }

    private fun objectMethod(map: Map<*, *>, name: String): Callable? =
        when (name) {
            "items" -> Callable { _, _ -> map.map { listOf(it.key, it.value) } }
            "keys" -> Callable { _, _ -> map.keys.toList() }
            "values" -> Callable { _, _ -> map.values.toList() }
            "get" -> Callable { plain, _ -> if (map.containsKey(plain[0])) map[plain[0]] else plain.getOrNull(1) }
            else -> null
        }

    private fun prefixes(plain: List<Any?>): List<String> =
        (plain[0] as? List<*> ?: listOf(plain[0])).map { it as? String ?: throw ChatTemplateError("startswith takes text") }

    private fun strip(text: String, plain: List<Any?>) = text.dropWhile(stripped(plain)).dropLastWhile(stripped(plain))

    private fun stripped(plain: List<Any?>): (Char) -> Boolean {
        val chars = plain.firstOrNull() as? String ?: return { it.isWhitespace() || it in '\u001c'..'\u001f' || it == '\u0085' }
        return { it in chars }
    }

    private fun split(text: String, plain: List<Any?>): List<String> {
        val limit = (plain.getOrNull(1) as? Long)?.takeIf { it >= 0 }?.let { it.toInt() + 1 } ?: 0
        val by = plain.firstOrNull() as? String ?: return text.trim().split(Regex("\\s+"), limit).filter { it.isNotEmpty() }
        return text.split(by, limit = limit)
    }

    private fun capitalize(text: String) =
        text.lowercase(Locale.ROOT).replaceFirstChar { it.titlecase(Locale.ROOT) }
}

/** `strftime_now`: a pattern of C's strftime in, today in English out. */
internal object Clock {
    private val PARTS =
        mapOf(
            'd' to "dd", 'm' to "MM", 'Y' to "yyyy", 'y' to "yy", 'B' to "MMMM", 'b' to "MMM",
            'A' to "EEEE", 'a' to "EEE", 'H' to "HH", 'M' to "mm", 'S' to "ss", 'I' to "hh", 'p' to "a", 'j' to "DDD",
        )

    fun format(pattern: String, now: LocalDateTime = LocalDateTime.now()): String =
        Regex("%(.)").replace(pattern) { match ->
            val part = match.groupValues[1][0]
            when {
                part == '%' -> "%"
                part in PARTS -> DateTimeFormatter.ofPattern(PARTS.getValue(part), Locale.ENGLISH).format(now)
                else -> throw ChatTemplateError("strftime_now takes no %$part in this app")
            }
        }
}
