package org.tinyaya.demo.tokenizer

/** What a pattern means: the leaves and branches that [Pattern] walks. */
internal sealed interface RegexNode

/** One code point out of a set. */
internal class OneOf(val set: CharSet) : RegexNode

/** All of [parts], one after the other. */
internal class Sequence(val parts: List<RegexNode>) : RegexNode

/** The first of [options] that lets the rest match. */
internal class Choice(val options: List<RegexNode>) : RegexNode

/** [body] from [least] to [most] times, as often as the rest allows. */
internal class Repeat(val body: RegexNode, val least: Int, val most: Int) : RegexNode

/** Matches nothing; [body] must, or must not, match here. */
internal class Look(val body: RegexNode, val wanted: Boolean) : RegexNode

/** Matches nothing; exactly one of the neighbours is part of a word. */
internal object WordEdge : RegexNode

/** A set of code points. */
internal fun interface CharSet {
    fun has(code: Int): Boolean
}
