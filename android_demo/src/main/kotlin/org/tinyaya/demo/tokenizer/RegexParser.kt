package org.tinyaya.demo.tokenizer

import org.tinyaya.demo.bundle.TokenizerError

/**
 * A regular expression in, its [RegexNode] out.
 *
 * Reads what pre-tokenizers of byte-level BPE are written in, with the meaning that Oniguruma gives it, and refuses
 * the rest by name. The platform's engines differ between Android and the JVM, and from Oniguruma.
 */
internal class RegexParser(private val pattern: String) {
    private var at = 0
    private var ignoreCase = false

    fun parse(): RegexNode = choice().also { if (at < pattern.length) throw refusal("an unpaired ')'") }

    private fun choice(): RegexNode {
        val options = mutableListOf(sequence())
        while (take("|")) options += sequence()
        return options.singleOrNull() ?: Choice(options)
    }

    private fun sequence(): RegexNode {
        val parts = mutableListOf<RegexNode>()
        while (at < pattern.length && pattern[at] !in "|)") parts += repeated(atom())
        return parts.singleOrNull() ?: Sequence(parts)
    }

    private fun repeated(body: RegexNode): RegexNode {
        val (least, most) =
            when {
                take("*") -> 0 to Int.MAX_VALUE
                take("+") -> 1 to Int.MAX_VALUE
                take("?") -> 0 to 1
                take("{") -> bounds()
                else -> return body
            }
        if (at < pattern.length && pattern[at] in "*+?{") throw refusal("a lazy or possessive repetition")
        return Repeat(body, least, most)
    }

    private fun bounds(): Pair<Int, Int> {
        val end = pattern.indexOf('}', at)
        val parts = if (end < 0) emptyList() else pattern.substring(at, end).split(',')
        at = end + 1
        val least = parts.getOrNull(0)?.toIntOrNull() ?: throw refusal("bounds that are no numbers")
        val most =
            when {
                parts.size == 1 -> least
                parts.size == 2 && parts[1].isEmpty() -> Int.MAX_VALUE
                else -> parts[1].toIntOrNull() ?: throw refusal("bounds that are no numbers")
            }
        if (least > most || parts.size > 2) throw refusal("bounds that are no range")
        return least to most
    }

    private fun atom(): RegexNode =
        when (val char = pattern[at++]) {
            '(' -> group()
            '[' -> OneOf(members())
            '\\' -> if (take("b")) WordEdge else OneOf(escaped())
            '.' -> OneOf { it != '\n'.code }
            '^', '$', '*', '+', '?', '{' -> throw refusal("'$char'")
            else -> OneOf(literal(char.codeWithNext()))
        }

    private fun group(): RegexNode {
        val outer = ignoreCase
        val look =
            when {
                take("?=") -> true
                take("?!") -> false
                take("?:") -> null
                take("?i:") -> null.also { ignoreCase = true }
                take("?") -> throw refusal("a group of this kind")
                else -> null
            }
        val body = choice()
        ignoreCase = outer
        if (!take(")")) throw refusal("a group without an end")
        return if (look == null) body else Look(body, look)
    }

    private fun members(): CharSet {
        val inverted = take("^")
        val sets = mutableListOf<CharSet>()
        while (true) {
            if (at >= pattern.length) throw refusal("a set without an end")
            val char = pattern[at++]
            if (char == ']' && sets.isNotEmpty()) break
            if (char == '[' || char == '&' && pattern.startsWith("&", at)) throw refusal("a set within a set")
            if (char == '\\') sets += escaped() else sets += range(char.codeWithNext())
        }
        val all = sets.toList()
        return if (inverted) CharSet { code -> all.none { it.has(code) } } else CharSet { code -> all.any { it.has(code) } }
    }

    private fun range(low: Int): CharSet {
        val isRange = pattern.startsWith("-", at) && !pattern.startsWith("-]", at)
        if (!isRange) return literal(low)
        at++
        if (at >= pattern.length || pattern[at] == '\\' || pattern[at] == '[' || ignoreCase) throw refusal("this range")
        val high = pattern[at++].codeWithNext()
        return CharSet { it in low..high }
    }

    private fun escaped(): CharSet {
        if (at >= pattern.length) throw refusal("a '\\' at the end")
        return when (val char = pattern[at++]) {
            'r' -> literal('\r'.code)
            'n' -> literal('\n'.code)
            't' -> literal('\t'.code)
            's' -> UnicodeTable.SPACE
            'S' -> not(UnicodeTable.SPACE)
            'd' -> UnicodeTable.property("Nd")!!
            'D' -> not(UnicodeTable.property("Nd")!!)
            'w' -> UnicodeTable.WORD
            'W' -> not(UnicodeTable.WORD)
            'p', 'P' -> property(char == 'P')
            else -> if (char.isLetterOrDigit()) throw refusal("'\\$char'") else literal(char.code)
        }
    }

    private fun property(inverted: Boolean): CharSet {
        val end = pattern.indexOf('}', at)
        if (!take("{") || end < 0) throw refusal("'\\p' without a name")
        val name = pattern.substring(at, end)
        at = end + 1
        val set = UnicodeTable.property(name) ?: throw refusal("the property '$name'")
        return if (inverted) not(set) else set
    }

    private fun not(set: CharSet) = CharSet { !set.has(it) }

    private fun literal(code: Int): CharSet {
        if (!ignoreCase) return CharSet { it == code }
        if (code > 0x7f) throw refusal("'${String(Character.toChars(code))}' without regard to case")
        val lower = Character.toLowerCase(code)
        val upper = Character.toUpperCase(code)
        val third = UnicodeTable.FOLDED_TO_ASCII[lower] ?: lower
        return CharSet { it == lower || it == upper || it == third }
    }

    private fun Char.codeWithNext(): Int =
        if (isHighSurrogate() && at < pattern.length && pattern[at].isLowSurrogate()) {
            Character.toCodePoint(this, pattern[at++])
        } else {
            code
        }

    private fun take(text: String): Boolean = pattern.startsWith(text, at).also { if (it) at += text.length }

    private fun refusal(what: String) =
        TokenizerError("the pattern of the tokenizer has $what near character $at, which this app does not read: $pattern")
}
