package org.tinyaya.demo.ui

import android.content.Context
import android.text.format.Formatter
import android.view.View
import android.widget.TextView
import org.tinyaya.demo.R
import org.tinyaya.demo.chat.ChatMessage
import org.tinyaya.demo.chat.ChatState
import org.tinyaya.demo.chat.Phase
import org.tinyaya.demo.chat.Problem
import org.tinyaya.demo.chat.ProblemKind
import org.tinyaya.demo.model.Heat
import org.tinyaya.demo.model.StopReason
import java.util.Locale

/** Values of the app in, words in the user's language out. */
class Words(private val context: Context) {
    val locale: Locale get() = context.resources.configuration.locales[0]

    fun bytes(count: Long): String = Formatter.formatShortFileSize(context, count)

    fun number(value: Double): String = String.format(locale, "%.1f", value)

    fun problem(problem: Problem): String {
        val text = context.getString(PROBLEMS.getValue(problem.kind))
        return if (problem.detail.isEmpty()) text else text + "\n" + context.getString(R.string.problem_details, problem.detail)
    }

    fun heat(heat: Heat): String = context.getString(HEATS.getValue(heat))

    fun phase(state: ChatState): String =
        when (state.phase) {
            Phase.NO_MODEL -> context.getString(R.string.phase_no_model)
            Phase.LOADING -> context.getString(R.string.phase_loading)
            Phase.READY -> context.getString(R.string.phase_ready)
            Phase.READING -> context.getString(R.string.phase_reading, state.promptDone, state.promptTotal)
            Phase.ANSWERING -> context.getString(R.string.phase_answering)
            Phase.STOPPING -> context.getString(R.string.phase_stopping)
        }

    fun meter(state: ChatState): String = context.getString(R.string.meter, state.usedTokens, state.contextTokens)

    fun unseen(count: Int): String = context.resources.getQuantityString(R.plurals.unseen, count, count)

    /** What is written below an answer. */
    fun figures(message: ChatMessage): String {
        val figures = message.figures?.let {
            context.getString(R.string.figures, number(it.tokensPerSecond), it.tokens, number(it.firstTokenMs / 1000))
        }
        val ended =
            when (message.ended) {
                StopReason.CONTEXT, StopReason.MAX_TOKENS -> context.getString(R.string.ended_context)
                StopReason.STOPPED -> context.getString(R.string.ended_stopped)
                else -> null
            }
        return listOfNotNull(figures, ended).joinToString("\n")
    }

    private companion object {
        val PROBLEMS =
            mapOf(
                ProblemKind.TOO_LARGE to R.string.problem_too_large,
                ProblemKind.CHANGED to R.string.problem_changed,
                ProblemKind.MISSING to R.string.problem_missing,
                ProblemKind.VERSION to R.string.problem_version,
                ProblemKind.BROKEN to R.string.problem_broken,
                ProblemKind.TOO_LONG to R.string.problem_too_long,
                ProblemKind.TEMPLATE to R.string.problem_template,
                ProblemKind.TEXT to R.string.problem_text,
                ProblemKind.HOT to R.string.problem_hot,
                ProblemKind.MEMORY to R.string.problem_memory,
                ProblemKind.CRASHED to R.string.problem_crashed,
                ProblemKind.OTHER to R.string.problem_other,
            )
        val HEATS =
            mapOf(
                Heat.NONE to R.string.heat_none,
                Heat.LIGHT to R.string.heat_light,
                Heat.MODERATE to R.string.heat_moderate,
                Heat.SEVERE to R.string.heat_severe,
                Heat.CRITICAL to R.string.heat_critical,
            )
    }
}

/** Shows [text], or nothing in its place; an unchanged text is not announced again. */
internal fun TextView.show(text: String?) {
    visibility = if (text.isNullOrEmpty()) View.GONE else View.VISIBLE
    if (this.text.toString() != text.orEmpty()) this.text = text
}
