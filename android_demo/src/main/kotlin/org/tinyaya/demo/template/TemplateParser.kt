package org.tinyaya.demo.template

import org.tinyaya.demo.bundle.ChatTemplateError

/** The pieces of a template in, its statements out. */
internal class TemplateParser(private val pieces: List<Piece>) {
    private var at = 0

    fun parse(): List<Statement> = body().also { if (at < pieces.size) throw broken(tag(), "an end without a beginning") }

    /** Statements up to a tag that ends or divides a block, which is not taken. */
    private fun body(): List<Statement> {
        val statements = mutableListOf<Statement>()
        while (at < pieces.size) {
            val piece = pieces[at]
            if (piece is TagPiece && keyword(piece) in ENDS) break
            at++
            statements +=
                when (piece) {
                    is TextPiece -> Text(piece.text)
                    is OutputPiece -> ExpressionParser(piece.tokens, piece.line).run { Output(tuple().also { end() }) }
                    is TagPiece -> statement(piece)
                }
        }
        return statements
    }

    private fun statement(tag: TagPiece): Statement {
        val words = ExpressionParser(tag.tokens.drop(1), tag.line)
        return when (keyword(tag)) {
            "if" -> branches(words)
            "for" -> loop(words)
            "set" -> assign(words)
            "macro" -> macro(words)
            "generation" -> Block(body().also { expectEnd("endgeneration") })
            "break" -> Leave(again = false)
            "continue" -> Leave(again = true)
            else -> throw broken(tag, "the tag '${keyword(tag)}', which this app does not know")
        }
    }

    private fun branches(first: ExpressionParser): If {
        val branches = mutableListOf(first.tuple().also { first.end() } to body())
        while (keyword(tag()) == "elif") {
            val words = ExpressionParser(tag().tokens.drop(1), tag().line)
            at++
            branches += words.tuple().also { words.end() } to body()
        }
        return If(branches, otherwise("endif"))
    }

    private fun loop(words: ExpressionParser): For {
        val targets = mutableListOf(words.name())
        while (words.takeSign(",")) targets += words.name()
        if (!words.takeName("in")) throw ChatTemplateError("the chat template has a loop without 'in'")
        val items = words.or()
        val condition = if (words.takeName("if")) words.expression() else null
        words.end()
        val body = body()
        return For(targets, items, condition, body, otherwise("endfor"))
    }

    private fun assign(words: ExpressionParser): Statement {
        val targets = mutableListOf(words.name())
        while (words.takeSign(",")) targets += words.name()
        val attribute = if (words.takeSign(".")) words.name() else null
        if (words.isDone) return AssignBlock(targets[0], body().also { expectEnd("endset") })
        words.expectSign("=")
        return Assign(targets, attribute, words.tuple().also { words.end() })
    }

    private fun macro(words: ExpressionParser): Macro {
        val name = words.name()
        val parameters = mutableListOf<Pair<String, Expression?>>()
        words.expectSign("(")
        while (!words.takeSign(")")) {
            parameters += words.name() to if (words.takeSign("=")) words.expression() else null
            if (!words.isSign(")")) words.expectSign(",")
        }
        words.end()
        return Macro(name, parameters, body().also { expectEnd("endmacro") })
    }

    private fun otherwise(end: String): List<Statement> {
        val statements =
            if (keyword(tag()) == "else") {
                at++
                body()
            } else {
                emptyList()
            }
        expectEnd(end)
        return statements
    }

    private fun expectEnd(name: String) {
        if (keyword(tag()) != name) throw broken(tag(), "'${keyword(tag())}' instead of '$name'")
        at++
    }

    private fun tag(): TagPiece =
        pieces.getOrNull(at) as? TagPiece ?: throw ChatTemplateError("the chat template ends within a block")

    private fun keyword(tag: TagPiece): String = tag.tokens.firstOrNull()?.text ?: throw broken(tag, "an empty tag")

    private fun broken(tag: TagPiece, what: String) =
        ChatTemplateError("the chat template is broken in line ${tag.line}: $what")

    private companion object {
        val ENDS = setOf("elif", "else", "endif", "endfor", "endset", "endmacro", "endgeneration")
    }
}
