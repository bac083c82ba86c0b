package org.tinyaya.demo.tokenizer

import org.tinyaya.demo.bundle.PromptError

/**
 * Code points in, the places where a regular expression matches out: leftmost, first option, greedy.
 *
 * Repetitions of what has a fixed length are loops, so that long words and numbers need no stack.
 */
internal class Pattern(source: String) {
    private val root = RegexParser(source).parse()
    private var codes = IntArray(0)
    private var depth = 0

    /** Cuts [codes] into matches and what lies between them; [piece] gets each range [start, end). */
    fun split(codes: IntArray, piece: (Int, Int) -> Unit) {
        this.codes = codes
        var done = 0
        var at = 0
        while (at < codes.size) {
            val end = matchEnd(at)
            if (end <= at) { // no match here; one of no length separates nothing
                at++
                continue
            }
            if (done < at) piece(done, at)
            piece(at, end)
            at = end
            done = end
        }
        if (done < codes.size) piece(done, codes.size)
    }

    private fun matchEnd(start: Int): Int {
        var end = -1
        depth = 0
        match(root, start) {
            end = it
            true
        }
        return end
    }

    private fun match(node: RegexNode, at: Int, rest: (Int) -> Boolean): Boolean =
        when (node) {
            is OneOf -> at < codes.size && node.set.has(codes[at]) && rest(at + 1)
            is Sequence -> sequence(node.parts, 0, at, rest)
            is Choice -> node.options.any { match(it, at, rest) }
            is Repeat -> repeat(node, at, rest)
            is Look -> match(node.body, at) { true } == node.wanted && rest(at)
            is WordEdge -> (isWord(at - 1) != isWord(at)) && rest(at)
        }

    private fun sequence(parts: List<RegexNode>, index: Int, at: Int, rest: (Int) -> Boolean): Boolean =
        if (index == parts.size) rest(at) else match(parts[index], at) { sequence(parts, index + 1, it, rest) }

    private fun repeat(node: Repeat, at: Int, rest: (Int) -> Boolean): Boolean {
        val sets = fixed(node.body) ?: return repeatAny(node, at, 0, rest)
        var count = 0
        while (count < node.most && fits(sets, at + count * sets.size)) count++
        while (count >= node.least) {
            if (rest(at + count * sets.size)) return true
            count--
        }
        return false
    }

    private fun repeatAny(node: Repeat, at: Int, done: Int, rest: (Int) -> Boolean): Boolean {
        if (++depth > MAX_DEPTH) throw PromptError("the text repeats something too often for the tokenizer's pattern")
        val more =
            done < node.most && match(node.body, at) { next -> next > at && repeatAny(node, next, done + 1, rest) }
        depth--
        return more || done >= node.least && rest(at)
    }

    private fun fits(sets: List<CharSet>, at: Int): Boolean {
        if (at + sets.size > codes.size) return false
        return sets.indices.all { sets[it].has(codes[at + it]) }
    }

    /** The sets of a node that always takes as many code points, one each; null for others. */
    private fun fixed(node: RegexNode): List<CharSet>? =
        when (node) {
            is OneOf -> listOf(node.set)
            is Sequence -> node.parts.map { fixed(it) ?: return null }.flatten()
            is Repeat -> if (node.least == node.most) fixed(node.body)?.let { one -> List(node.least) { one }.flatten() } else null
            else -> null
        }?.takeIf { it.isNotEmpty() }

    private fun isWord(at: Int) = at in codes.indices && UnicodeTable.WORD.has(codes[at])

    private companion object {
        const val MAX_DEPTH = 500
    }
}
