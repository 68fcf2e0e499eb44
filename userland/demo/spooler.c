/* A print spooler with a bug in it.    spooler
 *
 * Jobs wait in a list; one that is cancelled is taken out.  All of them are printed at the end, but for one: where it
 * got lost is what docs/tutorial-invariants.md finds out. */
#include <aero.h>

struct job {
    const char *name;
    struct job *next;
};

static struct queue {
    struct job *head; /* the next to be printed, NULL if there is none */
    struct job *tail; /* the last one, NULL if there is none */
    int count;
} queue;

static struct job jobs[8];

static void say(const char *what, const struct job *job)
{
    aero_print(what);
    aero_print(job->name);
    aero_print("\n");
}

static void submit(struct job *job, const char *name)
{
    job->name = name;
    job->next = NULL;
    if (queue.tail)
        queue.tail->next = job;
    else
        queue.head = job;
    queue.tail = job;
    queue.count++;
    say("submitted ", job);
}

static void cancel(struct job *job)
{
    struct job **link = &queue.head;

    while (*link && *link != job)
        link = &(*link)->next;
    if (!*link)
        return;
    *link = job->next;
    queue.count--;
    say("cancelled ", job);
}

static struct job *take(void)
{
    struct job *job = queue.head;

    if (job) {
        queue.head = job->next;
        if (!queue.head)
            queue.tail = NULL;
        queue.count--;
    }
    return job;
}

int main(void)
{
    struct job *job;

    submit(&jobs[0], "letter");
    submit(&jobs[1], "poster");
    submit(&jobs[2], "ticket");
    cancel(&jobs[1]);
    submit(&jobs[3], "invoice");
    cancel(&jobs[3]);
    submit(&jobs[4], "thesis");
    while ((job = take()))
        say("printed   ", job);
    return 0;
}
